package check

import (
	"fmt"
	"time"

	"github.com/anishathalye/porcupine"
)

// Kind is what an operation on a register asks for.
type Kind string

const (
	Get      Kind = "get"
	Set      Kind = "set"
	SetNX    Kind = "setnx"
	Delete   Kind = "delete"
	Swap     Kind = "swap"     // to Value if it holds Old
	Exchange Kind = "exchange" // to Value, returns what was there
)

// Op is one operation on one register. Values are never empty; an empty Got
// means that the key was absent.
type Op struct {
	Client  int
	Kind    Kind
	Value   string `json:",omitempty"`
	Old     string `json:",omitempty"`
	Got     string `json:",omitempty"`
	Did     bool   `json:",omitempty"` // SetNX, Delete, Swap: it changed something
	InDoubt bool   `json:",omitempty"`
	NotDone string `json:",omitempty"` // the error that says so: only for the reader of the evidence
	Node    string `json:",omitempty"` // for the reader of the evidence
	Call    int64
	Return  int64
}

// Verdict on a history.
type Verdict int

const (
	Right Verdict = iota
	Wrong
	Undecided
)

// Register decides whether some order explains what was seen of one key. A
// cached key may become absent at any moment, and stays so until written again.
func Register(history []Op, cached bool, timeout time.Duration) Verdict {
	operations := make([]porcupine.Operation, 0, len(history))
	for _, op := range history {
		if op.NotDone != "" || op.InDoubt && op.Kind == Get {
			continue // it says nothing
		}
		if op.InDoubt {
			op.Return = Never
		}
		operations = append(operations, porcupine.Operation{
			ClientId: op.Client, Input: op, Output: op, Call: op.Call, Return: op.Return,
		})
	}
	switch porcupine.CheckOperationsTimeout(registerModel(cached), operations, timeout) {
	case porcupine.Ok:
		return Right
	case porcupine.Illegal:
		return Wrong
	}
	return Undecided
}

// Draw writes a picture of the history that a browser shows.
func Draw(history []Op, cached bool, path string) error {
	var operations []porcupine.Operation
	for _, op := range history {
		if op.NotDone != "" {
			continue
		}
		if op.InDoubt {
			op.Return = history[len(history)-1].Return
			if op.Return < op.Call {
				op.Return = op.Call
			}
		}
		operations = append(operations, porcupine.Operation{
			ClientId: op.Client, Input: op, Output: op, Call: op.Call, Return: op.Return,
		})
	}
	model := registerModel(cached)
	_, info := porcupine.CheckOperationsVerbose(model, operations, 5*time.Second)
	return porcupine.VisualizePath(model, info, path)
}

func registerModel(cached bool) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return "" },
		Step: func(state, input, output any) (bool, any) {
			return step(state.(string), output.(Op), cached)
		},
		DescribeOperation: func(input, output any) string { return output.(Op).String() },
	}
}

// step says whether op could have been answered so while the key held state,
// and what it holds afterwards.
func step(state string, op Op, cached bool) (bool, string) {
	// Forgetting at this very moment explains an answer that says "absent".
	if cached && state != "" && !op.InDoubt && sawAbsent(op) {
		state = ""
	}
	switch op.Kind {
	case Get:
		return op.Got == state, state
	case Set:
		return true, op.Value
	case SetNX:
		if state == "" {
			return op.InDoubt || op.Did, op.Value
		}
		return op.InDoubt || !op.Did, state
	case Delete:
		return op.InDoubt || op.Did == (state != ""), ""
	case Swap:
		if state == op.Old {
			return op.InDoubt || op.Did, op.Value
		}
		return op.InDoubt || !op.Did, state
	case Exchange:
		return op.InDoubt || op.Got == state, op.Value
	}
	panic("unknown kind " + string(op.Kind))
}

func sawAbsent(op Op) bool {
	switch op.Kind {
	case Get, Exchange:
		return op.Got == ""
	case SetNX:
		return op.Did
	case Delete, Swap:
		return !op.Did
	}
	return false
}

func (op Op) String() string {
	result := fmt.Sprintf("did=%v", op.Did)
	switch {
	case op.InDoubt:
		result = "in doubt"
	case op.Kind == Get || op.Kind == Exchange:
		result = fmt.Sprintf("%q", op.Got)
	case op.Kind == Set:
		result = "ok"
	}
	return fmt.Sprintf("%s %s %s → %s", op.Kind, op.Old, op.Value, result)
}
