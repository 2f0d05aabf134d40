package main

import (
	"fmt"
	"regexp"
	"strings"
)

// selection says which namespaces of an archive are restored, and under which names.
type selection struct {
	include, exclude []*regexp.Regexp
	from             []*regexp.Regexp
	into             []string
}

// piece is what a pattern of namespaces is made of: a variable $name$, an escaped character, an asterisk, other characters.
var piece = regexp.MustCompile(`(?s)\$[^$]*\$|\\.|.`)

func newSelection(o *options) (*selection, error) {
	s := &selection{}
	include := o.include
	switch {
	case o.collection != "":
		include = append(include, literally(o.db+"."+o.collection))
	case o.db != "":
		include = append(include, literally(o.db)+".*")
	case len(include) == 0:
		include = []string{"*"}
	}
	for _, list := range []struct {
		into     *[]*regexp.Regexp
		patterns []string
	}{{&s.include, include}, {&s.exclude, o.exclude}} {
		for _, pattern := range list.patterns {
			if strings.Contains(pattern, "$") && o.db == "" {
				return nil, fmt.Errorf("%q: a pattern to include or exclude has no variables", pattern)
			}
			compiled, _, err := compile(pattern, false)
			if err != nil {
				return nil, err
			}
			*list.into = append(*list.into, compiled)
		}
	}
	if len(o.renameFrom) != len(o.renameInto) {
		return nil, fmt.Errorf("there are %d --nsFrom and %d --nsTo: each of one needs one of the other", len(o.renameFrom), len(o.renameInto))
	}
	for i, from := range o.renameFrom {
		compiled, variables, err := compile(from, strings.Contains(from, "$"))
		if err != nil {
			return nil, err
		}
		into, err := replacement(o.renameInto[i], variables)
		if err != nil {
			return nil, err
		}
		s.from, s.into = append(s.from, compiled), append(s.into, into)
	}
	return s, nil
}

// literally is the pattern of nothing but the text.
func literally(text string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `$`, `\$`).Replace(text)
}

// compile makes a regular expression of a pattern, and lists its variables: $names$, or asterisks by their number.
func compile(pattern string, named bool) (*regexp.Regexp, []string, error) {
	var text strings.Builder
	var variables []string
	for _, part := range piece.FindAllString(pattern, -1) {
		switch {
		case named && len(part) > 1 && part[0] == '$':
			variables = append(variables, part)
			text.WriteString("(.*?)")
		case !named && part == "*":
			variables = append(variables, fmt.Sprint("*", len(variables)))
			text.WriteString("(.*?)")
		case len(part) > 1 && part[0] == '\\':
			text.WriteString(regexp.QuoteMeta(part[1:]))
		case named && part == "$":
			return nil, nil, fmt.Errorf("%q: a $ has no second one", pattern)
		default:
			text.WriteString(regexp.QuoteMeta(part))
		}
	}
	compiled, err := regexp.Compile("(?s)^" + text.String() + "$")
	return compiled, variables, err
}

// replacement writes --nsTo as regexp's Expand wants it.
func replacement(pattern string, variables []string) (string, error) {
	var text strings.Builder
	stars := 0
	named := len(variables) > 0 && variables[0][0] == '$'
	for _, part := range piece.FindAllString(pattern, -1) {
		wanted := ""
		switch {
		case named && len(part) > 1 && part[0] == '$':
			wanted = part
		case !named && part == "*":
			wanted = fmt.Sprint("*", stars)
			stars++
		case len(part) > 1 && part[0] == '\\':
			part = part[1:]
		}
		if wanted == "" {
			text.WriteString(strings.ReplaceAll(part, "$", "$$"))
			continue
		}
		number := 0
		for i, variable := range variables {
			if variable == wanted {
				number = i + 1
			}
		}
		if number == 0 {
			return "", fmt.Errorf("--nsTo %q uses what its --nsFrom doesn't have: %s", pattern, part)
		}
		fmt.Fprintf(&text, "${%d}", number)
	}
	if !named && stars != len(variables) {
		return "", fmt.Errorf("--nsTo %q has %d asterisks, and its --nsFrom %d", pattern, stars, len(variables))
	}
	return text.String(), nil
}

func (s *selection) has(namespace string) bool {
	return matches(s.include, namespace) && !matches(s.exclude, namespace)
}

func matches(patterns []*regexp.Regexp, namespace string) bool {
	for _, pattern := range patterns {
		if pattern.MatchString(namespace) {
			return true
		}
	}
	return false
}

// target returns the database and the name under which a collection is restored; the last --nsFrom that fits counts.
func (s *selection) target(db, name string) (string, string) {
	namespace := db + "." + name
	for i := len(s.from) - 1; i >= 0; i-- {
		if s.from[i].MatchString(namespace) {
			db, name, _ = strings.Cut(s.from[i].ReplaceAllString(namespace, s.into[i]), ".")
			break
		}
	}
	return db, name
}
