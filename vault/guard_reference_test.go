package vault_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"unicode/utf16"
)

// spellings is value in all ways that are promised to be found, and in mixtures
// of them, written anew. Each names the part of it that must not pass.
func spellings(value string) map[string]string {
	all := map[string]string{"raw": value}
	for _, e := range []struct {
		name string
		*base64.Encoding
	}{{"base64", base64.StdEncoding}, {"base64url", base64.URLEncoding}} {
		for _, before := range []string{"", "x", "xy"} {
			text := e.EncodeToString([]byte(before + value + "z"))
			all[e.name+" after "+before] = text
		}
		all[e.name+" at the end"] = e.EncodeToString([]byte("user:" + value))
	}
	lower := hex.EncodeToString([]byte(value))
	all["hex"], all["HEX"] = lower, strings.ToUpper(lower)
	each := map[string]func(byte) string{
		"percent":        func(c byte) string { return fmt.Sprintf("%%%02X", c) },
		"percent, lower": func(c byte) string { return fmt.Sprintf("%%%02x", c) },
		"json":           func(c byte) string { return fmt.Sprintf(`\u%04X`, c) },
		"json, lower":    func(c byte) string { return fmt.Sprintf(`\u%04x`, c) },
		"backslash": func(c byte) string {
			if strings.IndexByte("nrtbfu", c) >= 0 {
				return string(c)
			}
			return `\` + string(c)
		},
	}
	for _, source := range []string{"raw", "base64 after ", "hex"} {
		for name, write := range each {
			var whole, half strings.Builder
			for i, c := range []byte(all[source]) {
				whole.WriteString(write(c))
				if i%2 == 0 {
					half.WriteString(write(c))
				} else if one, _ := json.Marshal(string(c)); strings.HasPrefix(name, "percent") && c != '%' || !strings.HasPrefix(name, "percent") && len(one) == 3 {
					half.WriteByte(c)
				} else {
					half.WriteString(write(c))
				}
			}
			if source == "raw" || !strings.HasPrefix(name, "back") {
				all[source+" as "+name], all[source+" in part as "+name] = whole.String(), half.String()
			}
		}
	}
	all["query"] = url.QueryEscape(value)
	all["path"] = url.PathEscape(value)
	marshalled, _ := json.Marshal(value)
	all["json string"] = string(marshalled)
	all["json, slashes"] = strings.ReplaceAll(string(marshalled), "/", `\/`)
	return all
}

// reference masks value in text, looked at as a whole, in the plainest way: it
// reads the text three times, and compares at every place.
func reference(text, value string) string {
	type char struct {
		c          byte
		start, end int
	}
	plain := func(mark byte) []char {
		var all []char
		for i := 0; i < len(text); {
			decoded, n := text[i:i+1], 1
			switch {
			case text[i] != mark:
			case mark == '%':
				if b, err := url.PathUnescape(text[i:min(i+3, len(text))]); err == nil {
					decoded, n = b, 3
				}
			case i+1 == len(text):
			case text[i+1] == 'u':
				decoded, n = "u", 2
				if rune1, ok := unit(text[i:]); ok {
					decoded, n = string(rune1), 6
					if rune2, ok := unit(text[i+6:]); ok && utf16.IsSurrogate(rune1) {
						if r := utf16.DecodeRune(rune1, rune2); r != 0xFFFD {
							decoded, n = string(r), 12
						}
					}
				}
			default:
				decoded, n = text[i+1:i+2], 2
				if at := strings.Index("bfnrt", decoded); at >= 0 {
					decoded = "\b\f\n\r\t"[at : at+1]
				}
			}
			for _, c := range []byte(decoded) {
				all = append(all, char{c, i, i + n})
			}
			i += n
		}
		return all
	}
	var needles []string
	needles = append(needles, value, fmt.Sprintf("%x", value), fmt.Sprintf("%X", value), strings.ReplaceAll(value, " ", "+"))
	for before := range 3 {
		// Known characters are those that stay when all bits around change.
		a := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("\x00", before) + value + "\x00\x00"))
		b := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("\xff", before) + value + "\xff\xff"))
		start, end := 0, 0
		for start = 0; a[start] != b[start]; start++ {
		}
		for end = start; a[end] == b[end]; end++ {
		}
		needles = append(needles, a[start:end], strings.NewReplacer("+", "-", "/", "_").Replace(a[start:end]))
	}
	masked := []byte(text)
	for _, mark := range []byte{0, '%', '\\'} {
		chars := plain(mark)
		if mark == 0 {
			chars = nil
			for i, c := range []byte(text) {
				chars = append(chars, char{c, i, i + 1})
			}
		}
		for _, needle := range needles {
			for i := range len(chars) - len(needle) + 1 {
				same := true
				for j := range len(needle) {
					same = same && chars[i+j].c == needle[j]
				}
				if same {
					for k := chars[i].start; k < chars[i+len(needle)-1].end; k++ {
						masked[k] = '*'
					}
				}
			}
		}
	}
	return string(masked)
}

func unit(s string) (rune, bool) {
	var n uint32
	if len(s) < 6 || s[:2] != `\u` || strings.ContainsAny(s[2:6], "+-_xX ") {
		return 0, false
	}
	if _, err := fmt.Sscanf(s[2:6], "%04x", &n); err != nil || fmt.Sprintf("%04x", n) != strings.ToLower(s[2:6]) {
		return 0, false
	}
	return rune(n), true
}

// weave is pieces of value and text in many spellings.
func weave(random *rand.Rand, value, text string) string {
	var b strings.Builder
	whole := []string{value, fmt.Sprintf("%x", value), base64.URLEncoding.EncodeToString([]byte("a" + value))}
	for range 6 {
		for _, c := range []byte(whole[random.IntN(len(whole))]) {
			switch random.IntN(12) {
			case 0:
				fmt.Fprintf(&b, `\u%04x`, c)
			case 1:
				fmt.Fprintf(&b, "%%%02X", c)
			default:
				b.WriteByte(c)
			}
		}
		b.WriteString(text[:min(len(text), random.IntN(8))])
	}
	return b.String()
}
