package store_test

import (
	"context"
	"time"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/postgres"
	"github.com/logicspike/manager/store/team"
)

// link stores a link for an hour and two uses. Its token is named after its id.
func (w *teamWorld) link(workspace ids.Workspace, role authz.Role, by ids.User) *team.Link {
	w.t.Helper()
	l := &team.Link{
		ID: ids.New[ids.InvitationLink](), WorkspaceID: workspace, Role: role, CreatorID: by, Domains: []string{"example.com", "b.example"},
		MaxUses: 2, CreateTime: now, ExpireTime: now.Add(time.Hour),
	}
	token := tokenOf(l.ID.String())
	l.TokenHash = token[:]
	w.call("InsertLink", l)
	return l
}

func (w *teamWorld) links() {
	first, second := w.link(w.w, authz.Member, w.owner), w.link(w.w, authz.Viewer, ids.User{})
	elsewhere := w.link(w.own, authz.Member, w.user)
	w.want(first, "Link", first.ID)
	w.want(second, "LinkByToken", tokenOf(second.ID.String()))
	w.want(first, "LockLink", w.w, first.ID)
	w.want((*team.Link)(nil), "Link", ids.New[ids.InvitationLink]())
	w.want((*team.Link)(nil), "LinkByToken", tokenOf("another"))
	if _, err := w.repository.LockLink(w.t.Context(), w.w, elsewhere.ID); !fault.Has(err, fault.Missing) {
		w.t.Errorf("LockLink of another workspace: %v", err)
	}
	w.want(&team.ReceivedLink{Link: *first, WorkspaceName: "Acme", CreatorName: "Ann"}, "ReceivedLinkByToken", tokenOf(first.ID.String()))
	w.want(&team.ReceivedLink{Link: *second, WorkspaceName: "Acme"}, "ReceivedLinkByToken", tokenOf(second.ID.String()))
	w.want((*team.ReceivedLink)(nil), "ReceivedLinkByToken", tokenOf("another"))
	w.want(2, "CountLinks", w.w, now)
	w.want(0, "CountLinks", w.w, now.AddDate(1, 0, 0))
	first.UseCount = 2
	w.call("UpdateLink", first)
	w.want(1, "CountLinks", w.w, now)
	w.refused("a third use of two", "invitation_links_not_overused", func() error {
		l := *first
		l.UseCount++
		return w.repository.UpdateLink(w.t.Context(), &l)
	})
	out := w.call("ListLinks", w.w, postgres.Page{Size: 1})
	w.same("ListLinks, first page", []team.Link{*second}, out[0])
	token := out[1].(string)
	w.badToken("a page's token of links in another workspace", func(ctx context.Context, p postgres.Page) error {
		_, _, err := w.repository.ListLinks(ctx, w.own, p)
		return err
	}, token)
	out = w.call("ListLinks", w.w, postgres.Page{Size: 1, Token: token})
	w.same("ListLinks, second page", []team.Link{*first}, out[0])
	if out[1] != "" {
		w.t.Error("ListLinks has a third page of two")
	}
	w.run("DELETE FROM team.invitation_links")
}
