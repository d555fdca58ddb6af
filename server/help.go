package server

import "crema/resp"

// helpReply is what a command's HELP answers: its own lines between the two
// that all have.
func helpReply(command string, lines ...string) resp.Reply {
	texts := []resp.Reply{resp.Simple(command + " <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")}
	for _, line := range lines {
		texts = append(texts, resp.Simple(line))
	}
	return resp.Array(append(texts, resp.Simple("HELP"), resp.Simple("    Prints this help."))...)
}
