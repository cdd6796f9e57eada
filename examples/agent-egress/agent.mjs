// An agent that asks the same of three providers, and streams the answers. Only
// the base URLs and the place of the key tell that there is a gateway.
import Anthropic from '@anthropic-ai/sdk'
import { GoogleGenAI } from '@google/genai'
import OpenAI from 'openai'

const gateway = 'http://127.0.0.1:8443'
const token = process.env.AGENT_TOKEN // its own identity, good for an hour; no key
const question = 'Where is the key?'

const providers = {
  async *OpenAI() {
    const openai = new OpenAI({ baseURL: gateway + '/openai/v1', apiKey: token })
    const messages = [{ role: 'user', content: question }]
    for await (const chunk of await openai.chat.completions.create({ model: 'gpt-5', messages, stream: true })) {
      yield chunk.choices[0].delta.content ?? ''
    }
  },
  async *Anthropic() {
    const anthropic = new Anthropic({ baseURL: gateway + '/anthropic', apiKey: token })
    const messages = [{ role: 'user', content: question }]
    for await (const event of await anthropic.messages.create({ model: 'claude-opus-5', max_tokens: 100, messages, stream: true })) {
      if (event.type === 'content_block_delta') yield event.delta.text
    }
  },
  async *Gemini() {
    const gemini = new GoogleGenAI({ apiKey: token, httpOptions: { baseUrl: gateway + '/gemini' } })
    for await (const chunk of await gemini.models.generateContentStream({ model: 'gemini-pro', contents: question })) {
      yield chunk.text ?? ''
    }
  },
}

for (const [name, ask] of Object.entries(providers)) {
  let answer = ''
  try {
    for await (const words of ask()) answer += words
    console.log(`${name}: ${answer}`)
  } catch (e) {
    console.log(`${name}: refused with ${e.status}`)
  }
}
