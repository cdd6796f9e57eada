package policy

// Forgetful is the engine without its memory: every decision is evaluated.
func (e *Engine) Forgetful() *Engine {
	forgetful := *e
	forgetful.memory = nil
	return &forgetful
}
