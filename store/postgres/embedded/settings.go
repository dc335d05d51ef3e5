package embedded

import (
	"fmt"
	"maps"
	"slices"
)

// defaults are the server settings of a small service. The log goes to us, and
// shows neither statements nor values: both may hold personal data.
var defaults = map[string]string{
	"max_connections":         "100",
	"timezone":                "UTC",
	"log_timezone":            "UTC",
	"log_destination":         "stderr",
	"logging_collector":       "off",
	"log_line_prefix":         "[%p] ",
	"log_min_error_statement": "panic",
	"log_error_verbosity":     "terse",
}

// reserved are the settings that keep the server private and its files where
// this package looks for them.
var reserved = []string{
	"config_file", "data_directory", "external_pid_file", "hba_file", "ident_file",
	"listen_addresses", "port",
	"unix_socket_directories", "unix_socket_group", "unix_socket_permissions",
}

func checkSettings(settings map[string]string) error {
	for name := range settings {
		if slices.Contains(reserved, name) {
			return fmt.Errorf("the setting %s cannot be changed", name)
		}
	}
	return nil
}

// serverArgs returns the command line of the server.
func serverArgs(data string, socket socketDir, settings map[string]string) []string {
	all := maps.Clone(defaults)
	maps.Copy(all, settings)
	all["listen_addresses"] = ""
	all["port"] = fmt.Sprint(port)
	all["unix_socket_directories"] = socket.path
	all["unix_socket_permissions"] = "0700"
	args := []string{"-D", data}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		args = append(args, "-c", name+"="+all[name])
	}
	return args
}
