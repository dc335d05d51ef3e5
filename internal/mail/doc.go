// Package mail turns what happened into e-mail and delivers it.
//
// A [Message] says which mail to send, to whom, and with which values; it is
// small and plain, so that it can wait in a job queue. A [Renderer] makes the
// text of it, a [Sender] delivers that: [SMTP] to a mail server, [Mailbox] into a
// folder that a developer can look into with a browser.
package mail
