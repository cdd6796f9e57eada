package deploy_test

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

// rare are values that a test cannot bring about in a gateway, with what they
// are a value of.
var rare = map[string]string{
	"lost":      "vaultspan_audit_result", // a record that did not fit after a queue of 32 MiB
	"throttled": "vaultspan_result",       // the demo's vault never has enough of us
}

// expression is PromQL with the place it stands at.
type expression struct{ at, text string }

// alerts are the expressions of the rules.
func alerts(t *testing.T) []expression {
	t.Helper()
	text, err := os.ReadFile("prometheus/vaultspan.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr         string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	var all []expression
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			all = append(all, expression{"alert " + rule.Alert, rule.Expr})
			if s := rule.Labels["severity"]; s != "page" && s != "ticket" {
				t.Errorf("%s: severity %q", rule.Alert, s)
			}
			if want := "#" + strings.ToLower(rule.Alert); rule.Annotations["summary"] == "" || !strings.HasSuffix(rule.Annotations["runbook_url"], "docs/runbook.md"+want) {
				t.Errorf("%s: want a summary, and a runbook_url that ends in %s", rule.Alert, want)
			}
		}
	}
	return all
}

// panel is what there is to check of one.
type panel struct {
	Type, Title string
	GridPos     struct{ X, Y, W, H int }
	Datasource  struct{ UID string }
	Targets     []struct{ Expr, LegendFormat, RefID string }
}

// dashboard are the expressions of the dashboard, with its variables filled in,
// and the labels its legends and variables name.
func dashboard(t *testing.T) (all []expression, panels []panel, named map[string][]string) {
	t.Helper()
	text, err := os.ReadFile("grafana/vaultspan.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		UID         string
		Panels      []panel
		Annotations struct {
			List []struct{ Name, Expr, TextFormat string }
		}
		Templating struct {
			List []struct{ Name, Query, Type string }
		}
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	filled := strings.NewReplacer("$__rate_interval", "1m", "$__range", "1h", "$instance", "x", "$route", "y")
	named = map[string][]string{} // by expression
	note := func(at, text, legend string) {
		text = filled.Replace(text)
		if strings.Contains(text, "$") {
			t.Errorf("%s: an unknown variable in %s", at, text)
		}
		all = append(all, expression{at, text})
		for _, m := range regexp.MustCompile(`\{\{(\w+)\}\}`).FindAllStringSubmatch(legend, -1) {
			named[text] = append(named[text], m[1])
		}
	}
	for _, p := range file.Panels {
		for _, target := range p.Targets {
			note("panel "+p.Title, target.Expr, target.LegendFormat)
		}
	}
	for _, a := range file.Annotations.List {
		note("annotation "+a.Name, a.Expr, a.TextFormat)
	}
	for _, v := range file.Templating.List {
		if v.Type != "query" {
			continue
		}
		m := regexp.MustCompile(`^label_values\((.*), (\w+)\)$`).FindStringSubmatch(v.Query)
		if m == nil {
			t.Errorf("variable %s: %q is not label_values(METRIC, LABEL)", v.Name, v.Query)
			continue
		}
		note("variable "+v.Name, m[1], "{{"+m[2]+"}}")
	}
	return all, file.Panels, named
}

// Every alert and every panel asks for what the gateway exports, and everything
// that the gateway exports is asked for.
func TestAlertsAndDashboardFitTheMetrics(t *testing.T) {
	metrics := observed(t)
	fromRules := alerts(t)
	fromDashboard, _, named := dashboard(t)
	if len(fromRules) < 10 || len(fromDashboard) < 30 {
		t.Fatalf("%d alerts and %d expressions of the dashboard", len(fromRules), len(fromDashboard))
	}
	asked := map[string]bool{}
	for _, e := range slices.Concat(fromRules, fromDashboard) {
		tree, err := parser.NewParser(parser.Options{}).ParseExpr(e.text)
		if err != nil {
			t.Errorf("%s: %v in %s", e.at, err, e.text)
			continue
		}
		have := map[string]bool{} // the labels below some point of this expression
		parser.Inspect(tree, func(node parser.Node, _ []parser.Node) error {
			selector, ok := node.(*parser.VectorSelector)
			if !ok {
				return nil
			}
			asked[selector.Name] = true
			known := metrics[selector.Name]
			if known == nil {
				t.Errorf("%s: the gateway exports no %s", e.at, selector.Name)
				return nil
			}
			for label := range known {
				have[label] = true
			}
			for _, m := range selector.LabelMatchers {
				if m.Name != model.MetricNameLabel {
					match(t, e.at, selector.Name, known[m.Name], m)
				}
			}
			return nil
		})
		for _, label := range slices.Concat(grouping(tree), named[e.text]) {
			if !have[label] {
				t.Errorf("%s: no metric in it has the label %s: %s", e.at, label, e.text)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		base := strings.TrimSuffix(strings.TrimSuffix(name, "_sum"), "_count")
		if !asked[name] && !asked[base+"_bucket"] && name != "target_info" {
			t.Errorf("%s is exported, and neither on the dashboard nor in an alert", name)
		}
	}
}

// match checks one matcher of a selector against the values there are.
func match(t *testing.T, at, metric string, values map[string]bool, m *labels.Matcher) {
	t.Helper()
	if values == nil {
		t.Errorf("%s: %s has no label %s", at, metric, m.Name)
		return
	}
	if m.Value == "x" || m.Value == "y" || rare[m.Value] == m.Name || m.Type == labels.MatchNotEqual && values[m.Value] {
		return // a variable of the dashboard; a value that is rare; one that there is
	}
	if m.Type == labels.MatchNotEqual {
		t.Errorf("%s: %s has no %s=%q to leave out", at, metric, m.Name, m.Value)
		return
	}
	for value := range values {
		if m.Matches(value) {
			return
		}
	}
	t.Errorf("%s: no %s matches %s: it has %v", at, metric, m, slices.Sorted(maps.Keys(values)))
}

// grouping is every label that an expression aggregates or joins by.
func grouping(tree parser.Expr) []string {
	var all []string
	parser.Inspect(tree, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.AggregateExpr:
			all = append(all, n.Grouping...)
		case *parser.BinaryExpr:
			if n.VectorMatching != nil {
				all = append(all, n.VectorMatching.MatchingLabels...)
			}
		}
		return nil
	})
	return all
}

func TestDashboardIsLaidOut(t *testing.T) {
	_, panels, _ := dashboard(t)
	var taken [][4]int
	for _, p := range panels {
		g := p.GridPos
		if g.X < 0 || g.X+g.W > 24 || g.W < 1 || g.H < 1 {
			t.Errorf("%s is outside of the grid: %+v", p.Title, g)
		}
		for _, o := range taken {
			if g.X < o[0]+o[2] && o[0] < g.X+g.W && g.Y < o[1]+o[3] && o[1] < g.Y+g.H {
				t.Errorf("%s lies over another panel", p.Title)
			}
		}
		taken = append(taken, [4]int{g.X, g.Y, g.W, g.H})
		if p.Type != "row" && (len(p.Targets) == 0 || p.Datasource.UID != "${datasource}") {
			t.Errorf("%s: %d expressions, data source %q", p.Title, len(p.Targets), p.Datasource.UID)
		}
	}
}
