package config

import _ "embed"

//go:embed schema.json
var schema string

// Schema is the JSON Schema (2020-12) of vaultspan.yaml, for editors. It knows
// keys, types, words and forms; what refers to what, only Load knows.
func Schema() string { return schema }
