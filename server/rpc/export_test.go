package rpc

import "time"

// SetStreamTimes shortens StreamTimeout and MessageTimeout.
func (s *Stack) SetStreamTimes(whole, message time.Duration) {
	s.streamTimeout, s.messageTimeout = whole, message
}
