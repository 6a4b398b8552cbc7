// Renders conversations with a template of Ollama's language, as Ollama does: Go's text/template over .Messages.
//
// usage: go run render.go REQUEST.json ANSWER.json
// request: {"template": "...", "conversations": [[{"Role": "user", "Content": "..."}]]}; answer: a list of texts.
package main

import (
	"encoding/json"
	"os"
	"strings"
	"text/template"
)

type message struct{ Role, Content string }

type request struct {
	Template      string
	Conversations [][]*message
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	raw, err := os.ReadFile(os.Args[1])
	must(err)
	var asked request
	must(json.Unmarshal(raw, &asked))
	parsed, err := template.New("").Parse(asked.Template)
	must(err)
	var texts []string
	for _, conversation := range asked.Conversations {
		var text strings.Builder
		must(parsed.Execute(&text, map[string]any{"Messages": conversation}))
		texts = append(texts, text.String())
	}
	out, err := json.Marshal(texts)
	must(err)
	must(os.WriteFile(os.Args[2], out, 0o600))
}
