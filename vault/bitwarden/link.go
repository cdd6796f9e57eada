package bitwarden

// The SDK's static library uses pow, which the SDK does not link with glibc; and
// with musl, libgcc_eh asks for _dl_find_object, which only glibc has. The stub
// says "not found", after which the unwinder searches as it did before.

// #cgo linux LDFLAGS: -Wl,--no-as-needed -lm
//
// #include <stdlib.h>
//
// #if defined(__linux__) && !defined(__GLIBC__)
// __attribute__((weak)) int _dl_find_object(void *address, void *result) {
// 	(void)address;
// 	(void)result;
// 	return -1;
// }
// #endif
import "C"
