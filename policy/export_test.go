package policy

// Shipped is rbac.rego.
var Shipped = shipped

// Pure is the allow-list of builtins.
var Pure = pure

// Schema is the JSON Schema of the input.
var Schema = schema

// Forgetful is the engine without its memory: every decision is evaluated.
func (e *Engine) Forgetful() *Engine {
	forgetful := *e
	forgetful.memory = nil
	return &forgetful
}

// Remembered is how many answers the engine holds, and their bytes.
func (e *Engine) Remembered() (answers, bytes int) {
	for i := range e.memory.shards {
		s := &e.memory.shards[i]
		answers += len(s.young) + len(s.old)
		bytes += s.bytes
		for key, d := range s.old {
			bytes += cost(key, d)
		}
	}
	return answers, bytes
}

// Occupy takes every turn to evaluate, and returns how to give them back.
func (e *Engine) Occupy() (release func()) {
	for range cap(e.turns) {
		e.turns <- struct{}{}
	}
	return func() {
		for range cap(e.turns) {
			<-e.turns
		}
	}
}
