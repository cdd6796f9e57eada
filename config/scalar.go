package config

import (
	"encoding"
	"log/slog"
	"net/netip"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	yaml "go.yaml.in/yaml/v3"
)

// scalar fills a word, a number, a yes or no, or a duration.
func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.ScalarNode {
		d.wrong(n, path, "want one value here, not a list or keys", "")
		return
	}
	if v.Type() == reflect.TypeFor[time.Duration]() {
		if length, ok := duration(n.Value); ok {
			v.SetInt(int64(length))
		} else {
			d.wrong(n, path, "is not a duration", "write a number with a unit: 500ms, 30s, 10m, 24h or 90d")
		}
		return
	}
	switch v.Kind() {
	case reflect.String:
		d.word(n, v, path)
	case reflect.Bool:
		if n.Tag != "!!bool" || n.Value != "true" && n.Value != "false" {
			d.wrong(n, path, "want true or false", "")
			return
		}
		v.SetBool(n.Value == "true")
	case reflect.Int, reflect.Int64:
		number, err := strconv.ParseInt(n.Value, 10, 64)
		if n.Tag != "!!int" || err != nil || v.OverflowInt(number) {
			d.wrong(n, path, "want a whole number", "")
			return
		}
		v.SetInt(number)
	case reflect.Float64:
		number, err := strconv.ParseFloat(n.Value, 64)
		if n.Tag != "!!float" && n.Tag != "!!int" || err != nil {
			d.wrong(n, path, "want a number", "")
			return
		}
		v.SetFloat(number)
	default: // a field of a type that nobody taught us
		d.wrong(n, path, "cannot be configured", "")
	}
}

// word fills a string. A number or a yes is not one: 0123 and 1e3 would arrive
// otherwise than they were written.
func (d *decoder) word(n *yaml.Node, v reflect.Value, path string) {
	switch {
	case n.Tag != "!!str":
		d.wrong(n, path, "want a word, and YAML reads this as something else", "put it in quotes")
	case reference.MatchString(n.Value):
		d.wrong(n, path, "only secrets are read from files and the environment", "write the value itself")
	case n.Value == "":
		d.wrong(n, path, "is empty", "give it a value, or remove the key")
	default:
		v.SetString(n.Value)
	}
}

// text fills a type that has a syntax of its own.
func (d *decoder) text(n *yaml.Node, v reflect.Value, path string) {
	err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(n.Value))
	switch value := v.Addr().Interface().(type) {
	case *netip.Prefix:
		switch {
		case err != nil || !value.IsValid(): // it takes the empty text for no range
			d.wrong(n, path, "is not a range of addresses", "write one such as 10.0.0.0/8 or 2001:db8::/32; one address is 192.0.2.1/32")
		case value.Addr().Is4In6():
			d.wrong(n, path, "is IPv4 written as IPv6", "write the IPv4 range")
		case *value != value.Masked():
			d.wrong(n, path, "has an address with more bits than the range", "write "+value.Masked().String())
		}
	case *slog.Level:
		if err != nil {
			d.wrong(n, path, "is not a level", "write debug, info, warn or error")
		}
	default:
		if err != nil {
			d.wrong(n, path, err.Error(), "")
		}
	}
}

var days = regexp.MustCompile(`^(\d{1,5})d(.*)$`)

// duration reads what time.ParseDuration does, and whole days before it. A bare
// 0 has no unit, and nothing in a configuration lasts less than no time.
func duration(s string) (time.Duration, bool) {
	var whole time.Duration
	if m := days.FindStringSubmatch(s); m != nil {
		n, _ := strconv.Atoi(m[1])
		whole, s = time.Duration(n)*24*time.Hour, m[2]
		if s == "" {
			return whole, true
		}
	}
	rest, err := time.ParseDuration(s)
	if err != nil || rest < 0 || whole+rest < whole || strings.ContainsAny(s[:1], "+-") || s == "0" {
		return 0, false
	}
	return whole + rest, true
}
