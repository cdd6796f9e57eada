// Package config reads vaultspan.yaml into checked values.
//
// It composes the Config structs of the packages that own them; a field's name
// in the file is its yaml tag, and its doc comment is its reference. It reports
// every problem at once, each with file, line, column, the line itself and what
// to do, and it gives nothing to serve with while there is one: unknown keys,
// duplicate keys, aliases and secrets written into the file are all problems.
//
// A secret enters as ${file:NAME}, relative to the configuration and without
// one trailing newline, or as ${env:NAME}. It becomes a func() string, so that
// printing a Config cannot show it. No problem quotes a value that may be one.
//
// Only cmd imports this package.
package config
