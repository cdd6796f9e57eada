package canary

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"io"
	"unicode/utf8"
)

// view is data with an escape undone.
type view struct {
	escape string // "" for the data itself
	data   []byte
}

// views are the data as it is and with its escapes undone, one within the other
// too. Undoing is lenient: what is no escape stays, so a text that is escaped
// only here and there is found as well.
func views(data []byte) []view {
	percent := unescapePercent(data)
	all := []view{{"", data}}
	for _, v := range []view{
		{", percent-encoded", percent},
		{", escaped", unescapeString(data)},
		{", escaped, percent-encoded", unescapeString(percent)},
		{", percent-encoded, escaped", unescapePercent(unescapeString(data))},
		{", escaped twice", unescapeString(unescapeString(data))},
	} {
		if !bytes.Equal(v.data, data) {
			all = append(all, v)
		}
	}
	return all
}

// unescapePercent undoes %XX.
func unescapePercent(data []byte) []byte {
	if !bytes.Contains(data, []byte("%")) {
		return data
	}
	out := make([]byte, 0, len(data))
	for i := 0; i < len(data); i++ {
		if b, ok := hexByte(data, i+1); ok && data[i] == '%' {
			out = append(out, b)
			i += 2
			continue
		}
		out = append(out, data[i])
	}
	return out
}

// unescapeString undoes the escapes of JSON and of Go: \uXXXX, \xXX and a
// backslash before a character.
func unescapeString(data []byte) []byte {
	if !bytes.Contains(data, []byte(`\`)) {
		return data
	}
	out := make([]byte, 0, len(data))
	for i := 0; i < len(data); i++ {
		if data[i] != '\\' || i+1 == len(data) {
			out = append(out, data[i])
			continue
		}
		i++
		switch c := data[i]; c {
		case 'u':
			hi, ok1 := hexByte(data, i+1)
			lo, ok2 := hexByte(data, i+3)
			if ok1 && ok2 {
				out = utf8.AppendRune(out, rune(hi)<<8|rune(lo))
				i += 4
				continue
			}
			out = append(out, '\\', c)
		case 'x':
			if b, ok := hexByte(data, i+1); ok {
				out = append(out, b)
				i += 2
				continue
			}
			out = append(out, '\\', c)
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		default:
			out = append(out, c)
		}
	}
	return out
}

func hexByte(data []byte, at int) (byte, bool) {
	var b [1]byte
	if at+2 > len(data) {
		return 0, false
	}
	_, err := hex.Decode(b[:], data[at:at+2])
	return b[0], err == nil
}

// member is a gzip member found in data.
type member struct {
	offset int
	data   []byte
}

// maxMember bounds what one gzip member may expand to.
const maxMember = 64 << 20

// gzipMembers finds gzip streams anywhere in data. A damaged or cut one counts
// as far as it goes.
func gzipMembers(data []byte) []member {
	var all []member
	magic := []byte{0x1f, 0x8b, 0x08}
	for at := 0; ; at++ {
		i := bytes.Index(data[at:], magic)
		if i < 0 {
			return all
		}
		at += i
		r, err := gzip.NewReader(bytes.NewReader(data[at:]))
		if err != nil {
			continue
		}
		r.Multistream(false)
		plain, _ := io.ReadAll(io.LimitReader(r, maxMember))
		if len(plain) > 0 {
			all = append(all, member{at, plain})
		}
	}
}
