package e2e
import ("testing";"time";"sync"
authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/testkit"
)
func TestZZ(t *testing.T) {
	t0:=time.Now()
	testkit.Postgres(t)
	t.Log("pg", time.Since(t0)); 
	t0=time.Now()
	srv := testkit.New(t, testkit.Options{WithoutJobs:true, Settings: func(s *config.Settings){s.EmailVerification=config.VerifyAfter}})
	t.Log("new", time.Since(t0)); t0=time.Now()
	c:=srv.Client("")
	for i:=0;i<100;i++{ _,err:=c.Registration.Register(t.Context(), &authv1.RegisterRequest{Email: testkit.NewEmail(), Password: testkit.Password, WorkspaceName:"x"}); if err!=nil{t.Fatal(err)}}
	t.Log("100 reg after", time.Since(t0)); t0=time.Now()
	var wg sync.WaitGroup
	for k:=0;k<8;k++{ wg.Go(func(){ for i:=0;i<25;i++{ _,err:=c.Registration.Register(t.Context(), &authv1.RegisterRequest{Email: testkit.NewEmail(), Password: testkit.Password, WorkspaceName:"x"}); if err!=nil{t.Error(err)}}})}
	wg.Wait()
	t.Log("200 reg after par", time.Since(t0)); t0=time.Now()
	srv = testkit.New(t, testkit.Options{})
	t.Log("new", time.Since(t0)); t0=time.Now()
	var p *testkit.Person
	for i:=0;i<50;i++{ p=srv.Register(t)}
	t.Log("50 reg full", time.Since(t0)); t0=time.Now()
	for i:=0;i<100;i++{ p.Sessions.GetSession(t.Context(), &authv1.GetSessionRequest{})}
	t.Log("100 getsession", time.Since(t0)); t0=time.Now()
}
