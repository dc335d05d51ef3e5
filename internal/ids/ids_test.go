package ids_test

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/logicspike/manager/internal/ids"
)

// TestWireFormOfTheSpecification uses the examples of the TypeID specification.
func TestWireFormOfTheSpecification(t *testing.T) {
	for u, want := range map[string]string{
		"00000000-0000-0000-0000-000000000001": "usr_00000000000000000000000001",
		"00000000-0000-0000-0000-00000000000a": "usr_0000000000000000000000000a",
		"00000000-0000-0000-0000-000000000020": "usr_00000000000000000000000010",
		"ffffffff-ffff-ffff-ffff-ffffffffffff": "usr_7zzzzzzzzzzzzzzzzzzzzzzzzz",
		"0110c853-1d09-52d8-d73e-1194e95b5f19": "usr_0123456789abcdefghjkmnpqrs",
		"01890a5d-ac96-774b-bcce-b302099a8057": "usr_01h455vb4pex5vsknk084sn02q",
	} {
		id := ids.User{}
		if err := id.Scan(u); err != nil {
			t.Fatal(err)
		}
		if got := id.String(); got != want {
			t.Errorf("String of %s = %s, want %s", u, got, want)
		}
	}
}

func TestEveryIDReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var u uuid.UUID
		copy(u[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "bytes"))
		if u == uuid.Nil {
			return
		}
		var id ids.Workspace
		if err := id.Scan(u.String()); err != nil {
			t.Fatal(err)
		}
		back, err := ids.Parse[ids.Workspace](id.String())
		if err != nil || back != id {
			t.Fatalf("%s read back as %s, %v", id, back, err)
		}
	})
}

func TestParseRefusesWhatIsNotAnID(t *testing.T) {
	good := ids.New[ids.Workspace]().String()
	for _, bad := range []string{
		"", "wsp", "wsp_", strings.TrimPrefix(good, "wsp_"), "usr_" + good[4:], good + "0", good[:29],
		strings.ToUpper(good), "wsp_8" + good[5:], good[:20] + "u" + good[21:], good[:20] + "\x00" + good[21:],
	} {
		if id, err := ids.Parse[ids.Workspace](bad); err == nil {
			t.Errorf("Parse(%q) = %v, want an error", bad, id)
		}
	}
}
