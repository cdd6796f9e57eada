package vault

// NewGuard lets tests make a Guard of any value, also of one that no place could
// carry.
func NewGuard(values ...string) (*Guard, error) { return newGuard(values...) }
