// Package policy answers one question: may this identity make this request on
// this route, and with which secret? The answer is a Decision; only an allowing
// one makes a Grant.
//
// The rules are Rego: rbac.rego, which reads the roles of the configuration, or
// the operator's own in its place; and the operator's denials, which only take
// away. The package trusts the Input to be what authn and the front made of the
// request, and the operator to mean what the modules say. It trusts no module
// to behave: builtins are an allow-list of pure ones, so a policy has no
// network, no process and no randomness; every reference to the input is checked
// against its schema; a builtin that fails ends the evaluation; and an
// evaluation has a deadline and a bounded input. Undefined is a denial, and
// every error is an error: neither is ever an allow.
//
// Answers are remembered by exactly what of the input the policy can read
// (reads), so a remembered answer is the answer.
package policy

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/version"
)

// Rules is everything a decision rests on besides the input.
type Rules struct {
	// Roles is the RBAC table.
	Roles map[string]Role
	// Config names the operator's modules.
	Config Config
	// Routes is every route that is decided on, to check roles against.
	Routes []RouteInput
	// Deadline bounds one evaluation. Default: 50ms.
	Deadline time.Duration
}

// An Engine decides by one revision of the rules. It never changes: new rules
// are a new Engine. The zero Engine decides nothing. Safe for concurrent use.
type Engine struct {
	prepared *rego.PreparedEvalQuery
	roles    map[string]Role
	replaced bool
	revision string
	deadline time.Duration
	turns    chan struct{} // held by each evaluation under way
	reads    reads
	memory   *memory // nil when answers depend on the clock
}

// longestQueue is how many deadlines a decision waits for those before it.
const longestQueue = 20

// New checks and compiles the rules. Its error is Problems: all of them, each
// with its place.
func New(ctx context.Context, rules Rules) (*Engine, error) {
	var problems Problems
	rules.Check(func(path, problem string) {
		problems = append(problems, Problem{Text: path + ": " + problem})
	})
	modules := rules.Config.load(&problems)
	compiler := compile(modules, &problems)
	if err := problems.err(); err != nil {
		return nil, err
	}

	ask := fmt.Sprintf(query, noDenials)
	if slices.ContainsFunc(modules, func(m module) bool { return m.deny }) {
		ask = fmt.Sprintf(query, allDenials)
	}
	body, err := ast.ParseBody(ask)
	if err != nil {
		return nil, fmt.Errorf("parsing the query: %w", err)
	}
	data := table(rules.Roles)
	prepared, err := rego.New(
		rego.ParsedQuery(body),
		rego.Compiler(compiler),
		rego.Store(inmem.NewFromObjectWithOpts(data, inmem.OptReturnASTValuesOnRead(true), inmem.OptRoundTripOnWrite(false))),
		rego.StrictBuiltinErrors(true),
		rego.GenerateJSON(func(term *ast.Term, _ *rego.EvalContext) (any, error) { return term, nil }),
	).PrepareForEval(ctx)
	if err != nil {
		problems.rego(modules[0].file, err) // say, a decision that is a function
		return nil, problems.err()
	}

	e := &Engine{
		prepared: &prepared,
		roles:    maps.Clone(rules.Roles),
		replaced: rules.Config.Replace != "",
		revision: revision(modules, data, ask),
		deadline: cmp.Or(rules.Deadline, 50*time.Millisecond),
		turns:    make(chan struct{}, runtime.GOMAXPROCS(0)),
		reads:    rules.reads(body, modules, compiler),
	}
	e.reads.fields[routeSecrets] = true // answer reads it
	if !e.reads.clock {
		e.memory = newMemory()
	}
	e.warm(ctx)
	return e, nil
}

// warm evaluates once, for nobody: a first evaluation costs several times a
// later one, and on a busy machine it could pass the deadline of the first
// caller. What it answers, or that it fails, says nothing.
func (e *Engine) warm(ctx context.Context) {
	warmed := *e
	warmed.memory, warmed.deadline = nil, time.Second
	_, _ = warmed.Decide(ctx, Input{})
}

// Revision names the rules: 12 hex digits that two engines share exactly when
// they decide alike, wherever their files are.
func (e *Engine) Revision() string { return e.revision }

// revision hashes all that a decision rests on, each part behind its length so
// that no two sets of parts read the same.
func revision(modules []module, data map[string]any, query string) string {
	encoded, err := json.Marshal(data) // maps in order of their keys
	if err != nil {
		panic(err) // strings, lists and maps of them
	}
	var policy, deny []string
	for _, m := range modules {
		if m.deny {
			deny = append(deny, m.text)
		} else {
			policy = append(policy, m.text)
		}
	}
	slices.Sort(policy)
	slices.Sort(deny)

	var all []byte
	for _, part := range [][]string{{version.Version, string(schema), query, string(encoded)}, policy, deny} {
		all = binary.AppendUvarint(all, uint64(len(part)))
		for _, s := range part {
			all = appendText(all, s)
		}
	}
	sum := sha256.Sum256(all)
	return hex.EncodeToString(sum[:6])
}

// Decide answers for one input. An error means that there is no answer, which
// refuses: the policy failed, took too long, or answered something else than a
// decision.
func (e *Engine) Decide(ctx context.Context, in Input) (Decision, error) {
	if e == nil || e.prepared == nil {
		return Decision{}, errors.New("deciding: there is no policy")
	}
	if in.size() > maxInput { // before the memory, which need not see all of it
		return Decision{}, fmt.Errorf("deciding: the input is larger than %d bytes", maxInput)
	}
	if e.memory == nil {
		return e.evaluate(ctx, &in)
	}
	var room [1024]byte
	key := e.reads.appendKey(append(room[:0], e.revision...), &in)
	if d, ok := e.memory.find(key); ok {
		d.Cached = true
		return d, nil
	}
	d, err := e.evaluate(ctx, &in)
	if err == nil {
		e.memory.keep(key, d)
	}
	return d, err
}

// turn waits until an evaluation has a core to itself. The deadline is about the
// policy: many callers at once, each with a little of a core, would all miss it.
func (e *Engine) turn(ctx context.Context) error {
	select {
	case e.turns <- struct{}{}:
		return nil
	default:
	}
	ctx, cancel := context.WithTimeout(ctx, longestQueue*e.deadline)
	defer cancel()
	select {
	case e.turns <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// evaluate asks the policy. A deadline that passed is often not the policy's
// doing: the whole process stands still for longer when it has used up its share
// of the cores, or others need them. So it is asked once more.
func (e *Engine) evaluate(ctx context.Context, in *Input) (Decision, error) {
	if err := e.turn(ctx); err != nil {
		return Decision{}, fmt.Errorf("deciding: waiting for other decisions: %w", err)
	}
	defer func() { <-e.turns }()
	d, err := e.ask(ctx, in)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		d, err = e.ask(ctx, in)
	}
	return d, err
}

func (e *Engine) ask(ctx context.Context, in *Input) (Decision, error) {
	ctx, cancel := context.WithTimeout(ctx, e.deadline)
	defer cancel()
	results, err := e.prepared.Eval(ctx, rego.EvalParsedInput(in.document()))
	if late := ctx.Err(); late != nil { // even for an answer: it came too late for OPA to notice
		return Decision{}, fmt.Errorf("deciding: %w", late)
	}
	if err != nil {
		return Decision{}, fmt.Errorf("deciding: %w", err)
	}
	if len(results) != 1 || len(results[0].Expressions) != 1 {
		return Decision{}, errors.New("deciding: the policy gave no answer")
	}
	term, ok := results[0].Expressions[0].Value.(*ast.Term)
	if !ok {
		return Decision{}, errors.New("deciding: the policy gave no answer")
	}
	d, err := e.answer(term, in)
	if err != nil {
		return Decision{}, fmt.Errorf("deciding: %w", err)
	}
	return d, nil
}
