package audit

import (
	"fmt"
	"strings"
	"time"
)

// The modes of Config.
const (
	ModeStrict   = "strict"
	ModeBuffered = "buffered"
)

// Config is the audit section.
type Config struct {
	// Dir is the directory of the log; one process owns it. Required.
	Dir string `yaml:"dir"`
	// Key is the Ed25519 signing key as written by "vaultspan audit keygen".
	// Keep it outside Dir. Required.
	Key func() string `yaml:"key"`
	// Wait is how long a request waits for its intent to be durable, from 10ms
	// to 30s; after that it is refused with 503. Default: 1s.
	Wait time.Duration `yaml:"wait"`
	// Mode is strict (the default: durable before the credential leaves) or
	// buffered (written in order, not waited for: a crash can lose the records
	// of what was sent in the last moments).
	Mode string `yaml:"mode"`
	// SegmentSize is when a new file is begun, from 4KiB to 1GiB. Default: 64MiB.
	SegmentSize Bytes `yaml:"segment_size"`
}

// Check reports every problem of c, without touching the disk.
func (c Config) Check(report func(path, problem string)) {
	if c.Dir == "" {
		report("dir", "is required: name a directory for the audit log")
	}
	if c.Key == nil || strings.TrimSpace(c.Key()) == "" {
		report("key", `is required: make one with "vaultspan audit keygen" and name its file, outside dir`)
	} else if _, _, err := parseKey(c.Key()); err != nil {
		report("key", err.Error())
	}
	if c.Wait != 0 && (c.Wait < 10*time.Millisecond || c.Wait > 30*time.Second) {
		report("wait", fmt.Sprintf("is %s: choose from 10ms to 30s", c.Wait))
	}
	if c.Mode != "" && c.Mode != ModeStrict && c.Mode != ModeBuffered {
		report("mode", fmt.Sprintf("is %q: choose strict or buffered", c.Mode))
	}
	if c.SegmentSize != 0 && (c.SegmentSize < 4<<10 || c.SegmentSize > 1<<30) {
		report("segment_size", fmt.Sprintf("is %s: choose from 4KiB to 1GiB", c.SegmentSize))
	}
}
