package examples

import (
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// Apart makes cmd run with a loopback of its own, so that the fixed ports of a
// README disturb nobody, and says whether this machine permits it. The command
// must call Loopback.
func Apart(cmd *exec.Cmd) bool {
	attributes := func() *syscall.SysProcAttr {
		if os.Getuid() == 0 {
			return &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		}
		self := func(id int) []syscall.SysProcIDMap {
			return []syscall.SysProcIDMap{{ContainerID: id, HostID: id, Size: 1}}
		}
		return &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWNET | syscall.CLONE_NEWUSER,
			UidMappings: self(os.Getuid()), GidMappings: self(os.Getgid()),
			AmbientCaps: []uintptr{unix.CAP_NET_ADMIN},
		}
	}
	probe := exec.Command("true")
	probe.SysProcAttr, cmd.SysProcAttr = attributes(), attributes()
	return probe.Run() == nil
}

// Loopback brings up the loopback of this process, which is Apart.
func Loopback() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, lo)
}
