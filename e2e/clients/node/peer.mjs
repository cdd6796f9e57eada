// How a client's script and the test that runs it talk: a line of JSON at a time.
// When the test hangs up, the script ends.
import readline from 'node:readline'

const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]()

export async function hear() {
  const { value, done } = await lines.next()
  if (done) process.exit(0)
  return JSON.parse(value)
}

export function say(what, more = {}) {
  process.stdout.write(JSON.stringify({ what, ...more }) + '\n')
}

// refusals answers every {who} of the test with the error that ask(who) ends in.
export async function refusals(ask) {
  for (;;) {
    const { who } = await hear()
    try {
      await ask(who)
      say('error', { who, kind: 'none' })
    } catch (e) {
      say('error', { who, kind: e.constructor.name, status: e.status, text: e.message })
    }
  }
}
