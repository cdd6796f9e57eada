import OpenAI from 'openai'
import { hear, refusals, say } from './peer.mjs'

const { baseURL, tokens } = await hear()
const client = who => new OpenAI({ baseURL, apiKey: tokens[who] })
const messages = [{ role: 'user', content: 'Where is the key?' }]
const model = 'gpt-5'

const agent = client('agent')
const whole = await agent.chat.completions.create({ model, messages })
say('whole', { text: whole.choices[0].message.content })

for await (const chunk of await agent.chat.completions.create({ model, messages, stream: true })) {
  const text = chunk.choices[0].delta.content
  if (text) say('delta', { text })
}
say('end')

const stream = agent.responses.stream({ model, input: 'Where is the key?' })
for await (const event of stream) {
  if (event.type === 'response.output_text.delta') say('delta', { text: event.delta })
}
await stream.finalResponse()
say('end')

await refusals(who => client(who).chat.completions.create({ model, messages }))
