import assert from 'node:assert'
import { randomBytes } from 'node:crypto'
import ws from 'ws'
import { hear, refusals, say } from './peer.mjs'

const { url, client, largest, tokens } = await hear()
const Socket = client === 'ws' ? ws : WebSocket

// connect resolves to an open socket with its messages and its end.
function connect(who) {
  const headers = { authorization: `Bearer ${tokens[who]}` }
  const socket = client === 'ws' ? new Socket(url, ['chat.v1'], { headers }) : new Socket(url, { protocols: ['chat.v1'], headers })
  socket.binaryType = 'arraybuffer'
  const messages = [], waiting = []
  socket.onmessage = ({ data }) => waiting.length ? waiting.shift()(data) : messages.push(data)
  const next = () => messages.length ? messages.shift() : new Promise(resolve => waiting.push(resolve))
  const closed = new Promise(resolve => { socket.onclose = resolve })
  return new Promise((resolve, reject) => {
    socket.onopen = () => resolve({ socket, next, closed })
    if (client === 'ws') {
      socket.on('unexpected-response', (_, { statusCode }) => reject(Object.assign(new Error('refused'), { status: statusCode })))
    }
    socket.onerror = e => reject(e.error ?? new Error('refused'))
  })
}

const { socket, next, closed } = await connect('agent')
say('open', { text: socket.protocol, kind: socket.extensions })

for (const size of [0, 1, 100, largest]) {
  const bytes = randomBytes(size)
  socket.send(bytes)
  assert.deepEqual(Buffer.from(await next()), bytes)
  const text = 'ü'.repeat(size / 2)
  socket.send(text)
  assert.equal(await next(), text)
}
if (client === 'ws') {
  const pong = new Promise(resolve => socket.on('pong', resolve))
  socket.ping('are you there')
  assert.equal(String(await pong), 'are you there')
}
say('echoed')

socket.send('close 4001 because')
const { code, reason } = await closed
say('closed', { status: code, text: reason })

await refusals(connect)
