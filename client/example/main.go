// Command example goes once through the life of an account by the Go client:
// register, verify, sign in, rename the workspace, invite a colleague, and delete
// it with everything in it.
//
//	go run ./client/example -url http://localhost:8080
//
// It reads the code from the development mailbox, so the server must send its
// mail there.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/logicspike/manager/client"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
)

func main() {
	log.SetFlags(0)
	server := flag.String("url", "http://localhost:8080", "where the server is")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := tour(ctx, *server); err != nil {
		log.Fatal(err)
	}
}

func tour(ctx context.Context, server string) error {
	manager := client.New(server)
	email := "ada-" + strings.ToLower(rand.Text()[:8]) + "@example.com"
	password := "maple-lantern-quartz"

	// Register. With a request id the call can be repeated if the answer is lost.
	began, err := manager.Registration.Register(ctx, &authv1.RegisterRequest{
		Email: email, Password: password, WorkspaceName: "Analytical Engines", RequestId: uuid.NewString(),
	})
	if err != nil {
		return err
	}
	fmt.Printf("register   %s, the code is in the mail\n", email)

	code, err := codeFor(ctx, server, email)
	if err != nil {
		return err
	}
	verified, err := manager.Registration.VerifyRegistration(ctx, &authv1.VerifyRegistrationRequest{
		RegistrationId: began.Registration.Id, Code: code, RequestId: uuid.NewString(),
	})
	if err != nil {
		return err
	}
	account := verified.Account
	fmt.Printf("verify     %s is %s of %s (%s)\n", account.User.Id, account.Membership.Role, account.Workspace.Id, account.Workspace.Slug)

	// Sign in, and call as that session from now on.
	in, err := manager.Authentication.SignInWithPassword(ctx, &authv1.SignInWithPasswordRequest{Email: email, Password: password})
	if err != nil {
		return err
	}
	manager = manager.As(in.SessionToken)
	session, err := manager.Sessions.GetSession(ctx, &authv1.GetSessionRequest{})
	if err != nil {
		return err
	}
	fmt.Printf("sign in    %s of %s\n", session.Session.Id, session.Session.UserId)

	workspace := account.Workspace.Id
	renamed, err := manager.Workspaces.UpdateWorkspace(ctx, &tenantv1.UpdateWorkspaceRequest{WorkspaceId: workspace, Name: "Difference Engines"})
	if err != nil {
		return err
	}
	fmt.Printf("rename     %s\n", renamed.Workspace.Name)

	if err := invite(ctx, server, manager, workspace, strings.Replace(email, "ada", "grace", 1)); err != nil {
		return err
	}

	// Look at what a deletion would remove, and delete exactly that.
	preview, err := manager.Workspaces.PreviewDeleteWorkspace(ctx, &tenantv1.PreviewDeleteWorkspaceRequest{WorkspaceId: workspace})
	if err != nil {
		return err
	}
	fmt.Printf("preview    %d users, %d memberships, %d sessions would go\n", preview.DeletedUserCount, preview.MembershipCount, preview.SessionCount)
	deletion := &tenantv1.DeleteWorkspaceRequest{WorkspaceId: workspace, Etag: preview.Etag}
	deleted, err := manager.Workspaces.DeleteWorkspace(ctx, deletion)
	if err != nil {
		return err
	}
	fmt.Printf("delete     it can be undeleted until %s\n", deleted.Workspace.PurgeTime.AsTime().Format(time.DateOnly))
	if _, err := manager.Workspaces.UndeleteWorkspace(ctx, &tenantv1.UndeleteWorkspaceRequest{WorkspaceId: workspace}); err != nil {
		return err
	}
	fmt.Println("undelete   everything is back")

	if _, err := manager.Workspaces.DeleteWorkspace(ctx, deletion); err != nil {
		return err
	}
	purged, err := manager.Workspaces.PurgeWorkspace(ctx, &tenantv1.PurgeWorkspaceRequest{WorkspaceId: workspace, Etag: preview.Etag})
	if err != nil {
		return err
	}
	fmt.Printf("purge      %d users, %d memberships are gone\n", purged.DeletedUserCount, purged.MembershipCount)

	_, err = manager.Sessions.GetSession(ctx, &authv1.GetSessionRequest{})
	if client.Reason(err) != faultv1.Reason_REASON_SESSION_REQUIRED {
		return fmt.Errorf("the session outlived its user: %w", err)
	}
	fmt.Println("session    is gone")
	return nil
}

// invite has a colleague, who has no account yet, join the workspace: the code
// from the mail is all they need.
func invite(ctx context.Context, server string, manager *client.Client, workspace, email string) error {
	invited, err := manager.Invitations.CreateInvitation(ctx, &teamv1.CreateInvitationRequest{WorkspaceId: workspace, Email: email})
	if err != nil {
		return err
	}
	fmt.Printf("invite     %s as %s, the code is in the mail\n", email, invited.Invitation.Role)

	code, err := codeFor(ctx, server, email)
	if err != nil {
		return err
	}
	joined, err := client.New(server).Invitations.RegisterWithInvitation(ctx, &teamv1.RegisterWithInvitationRequest{
		Email: email, Code: code, Password: "walnut-harbour-violin", DisplayName: "Grace", RequestId: uuid.NewString(),
	})
	if err != nil {
		return err
	}
	fmt.Printf("join       %s is %s of %s\n", joined.UserId, joined.Membership.Role, joined.Membership.WorkspaceId)

	list, err := manager.Memberships.ListMemberships(ctx, &teamv1.ListMembershipsRequest{WorkspaceId: workspace})
	if err != nil {
		return err
	}
	var members []string
	for _, member := range list.Memberships {
		members = append(members, member.DisplayName+" ("+member.Role+")")
	}
	fmt.Printf("members    %s\n", strings.Join(members, ", "))
	return nil
}

var sixDigits = regexp.MustCompile(`\b[0-9]{6}\b`)

// codeFor waits for the code in the development mailbox.
func codeFor(ctx context.Context, server, email string) (string, error) {
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, server+"/mailbox/messages?to="+url.QueryEscape(email), nil)
		if err != nil {
			return "", err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return "", err
		}
		var mails []struct{ Text string }
		err = json.NewDecoder(res.Body).Decode(&mails)
		_ = res.Body.Close()
		if err != nil {
			return "", errors.New("the server shows no development mailbox to this machine")
		}
		if len(mails) > 0 {
			return sixDigits.FindString(mails[0].Text), nil
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}
