import { GoogleGenAI } from '@google/genai'
import { hear, refusals, say } from './peer.mjs'

const { baseURL, tokens } = await hear()
const client = who => new GoogleGenAI({ apiKey: tokens[who], httpOptions: { baseUrl: baseURL } })
const ask = { model: 'gemini-pro', contents: 'Where is the key?' }

const agent = client('agent')
const whole = await agent.models.generateContent(ask)
say('whole', { text: whole.text })

for await (const chunk of await agent.models.generateContentStream(ask)) {
  if (chunk.text) say('delta', { text: chunk.text })
}
say('end')

await refusals(who => client(who).models.generateContent(ask))
