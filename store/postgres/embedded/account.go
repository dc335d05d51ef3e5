package embedded

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// account is the operating system user that the server programs run as.
type account struct {
	name     string
	uid, gid uint32
	groups   []uint32
	switched bool // we are root and the account is another one
}

// serverAccount returns the current user, or, as root, the user postgres or
// nobody: PostgreSQL refuses to run as root.
func serverAccount() (account, error) {
	if os.Geteuid() != 0 {
		return account{uid: uint32(os.Geteuid()), gid: uint32(os.Getegid())}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			return unprivileged(u)
		}
	}
	return account{}, accessError("PostgreSQL refuses to run as root, and there is no user named postgres or nobody to run it as: " +
		"run the manager as an ordinary user, or add a user postgres")
}

func unprivileged(u *user.User) (account, error) {
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return account{}, fmt.Errorf("user %s: %w", u.Username, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return account{}, fmt.Errorf("user %s: %w", u.Username, err)
	}
	a := account{name: u.Username, uid: uint32(uid), gid: uint32(gid), switched: true}
	ids, _ := u.GroupIds() // without them the user may just do less
	for _, id := range ids {
		if g, err := strconv.ParseUint(id, 10, 32); err == nil {
			a.groups = append(a.groups, uint32(g))
		}
	}
	return a, nil
}

// sysProcAttr makes a child run as the account, in a process group of its own
// (an interrupt typed in the terminal reaches the manager only, which then stops
// the server in order), and end with the thread that started it where the
// system can do that.
func (a account) sysProcAttr() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if a.switched {
		attr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid, Groups: a.groups}
	}
	endWithParent(attr)
	return attr
}

// give makes the account the owner of one file or folder.
func (a account) give(path string) error {
	if !a.switched {
		return nil
	}
	return os.Lchown(path, int(a.uid), int(a.gid))
}

// own makes sure that the data folder belongs to the account: a folder that was
// used by another user is handed over when we are root, and is an error
// otherwise.
func (a account) own(data string) error {
	info, err := os.Stat(data)
	if err != nil {
		return err
	}
	owner := info.Sys().(*syscall.Stat_t).Uid
	if owner != a.uid {
		if !a.switched {
			return accessError("%s belongs to user id %d, but the manager runs as user id %d: "+
				"run it as the owner, or change the owner of the folder", data, owner, a.uid)
		}
		err := filepath.WalkDir(data, func(path string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return a.give(path)
		})
		if err != nil {
			return fmt.Errorf("hand %s over to user %s: %w", data, a.name, err)
		}
	}
	if info.Mode().Perm() != 0o700 {
		return os.Chmod(data, 0o700)
	}
	return nil
}

// checkSearch explains why the account cannot reach a file: it names the
// topmost folder above path (or path itself, if a folder) that the account may
// not enter. It returns nil if there is none.
func (a account) checkSearch(path string) error {
	for _, dir := range ancestors(path) {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if info.IsDir() && !a.maySearch(info) {
			return accessError("the database server runs as user %s, who may not enter the folder %s (mode %04o): "+
				"choose a data folder elsewhere, or allow it with: chmod o+x %s", a.name, dir, info.Mode().Perm(), dir)
		}
	}
	return nil
}

func (a account) maySearch(info fs.FileInfo) bool {
	st := info.Sys().(*syscall.Stat_t)
	switch {
	case st.Uid == a.uid:
		return info.Mode()&0o100 != 0
	case st.Gid == a.gid || slices.Contains(a.groups, st.Gid):
		return info.Mode()&0o010 != 0
	default:
		return info.Mode()&0o001 != 0
	}
}

// ancestors lists path and the folders above it, the root first.
func ancestors(path string) []string {
	all := []string{path}
	for dir := filepath.Dir(path); dir != all[len(all)-1]; dir = filepath.Dir(dir) {
		all = append(all, dir)
	}
	slices.Reverse(all)
	return all
}
