import { hear, refusals, say } from './peer.mjs'

const { baseURL, tokens, version } = await hear()
const { default: Anthropic } = await import(version)
const client = who => new Anthropic({ baseURL, apiKey: tokens[who] })
const ask = { model: 'claude', max_tokens: 100, messages: [{ role: 'user', content: 'Where is the key?' }] }

const agent = client('agent')
const whole = await agent.messages.create(ask)
say('whole', { text: whole.content[0].text })

for await (const event of await agent.messages.create({ ...ask, stream: true })) {
  if (event.type === 'content_block_delta') say('delta', { text: event.delta.text })
}
say('end')

const stream = agent.messages.stream(ask).on('text', text => say('delta', { text }))
await stream.finalMessage()
say('end')

await refusals(who => client(who).messages.create(ask))
