import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { ToolListChangedNotificationSchema } from '@modelcontextprotocol/sdk/types.js'
import { hear, refusals, say } from './peer.mjs'

const { url, tokens } = await hear()

let opened // is called when the stream of notifications is there
const listening = new Promise(resolve => { opened = resolve })

async function connect(who) {
  const client = new Client({ name: 'agent', version: '1' })
  const transport = new StreamableHTTPClientTransport(new URL(url), {
    requestInit: { headers: { authorization: `Bearer ${tokens[who]}` } },
    fetch: async (url, init) => {
      const response = await fetch(url, init)
      if (init.method === 'GET') opened()
      return response
    },
  })
  await client.connect(transport)
  return { client, transport }
}

const { client, transport } = await connect('agent')
const { tools } = await client.listTools()
const echo = tools.find(tool => tool.name === 'echo')
const echoed = await client.callTool({ name: echo.name, arguments: { text: 'The key never left home.' } })
say('whole', { text: echoed.content[0].text, kind: `${client.getServerVersion().name} ${transport.protocolVersion}` })

const counted = await client.callTool({ name: 'count', arguments: { text: '' } }, undefined, {
  onprogress: ({ message }) => say('delta', { text: message }),
})
say('end', { text: counted.content[0].text })

await hear()
const changed = new Promise(resolve => client.setNotificationHandler(ToolListChangedNotificationSchema, resolve))
await listening
say('listening')
await changed
say('changed', { text: JSON.stringify((await client.listTools()).tools.map(tool => tool.name)) })

const id = transport.sessionId
await transport.terminateSession()
await client.close()
say('ended', { text: id })

await refusals(async who => {
  try {
    await connect(who)
  } catch (e) {
    throw Object.assign(e, { status: e.code })
  }
})
