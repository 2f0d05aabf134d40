package main

import (
	"io"
	"slices"
)

// async writes in the background, so that the server sends the next documents while the last ones are compressed.
type async struct {
	full, free chan []byte
	done       chan error
	err        error
}

func newAsync(out io.Writer) *async {
	a := &async{make(chan []byte), make(chan []byte, 2), make(chan error, 1), nil}
	a.free <- nil
	a.free <- nil
	go func() {
		for bytes := range a.full {
			if _, err := out.Write(bytes); err != nil {
				a.done <- err
				return
			}
			a.free <- bytes[:0]
		}
		a.done <- nil
	}()
	return a
}

// Write takes the bytes; what became of them shows at a later Write, or at Close.
func (a *async) Write(bytes []byte) (int, error) {
	for chunk := range slices.Chunk(bytes, blockSize) {
		if err := a.hand(chunk); err != nil {
			return 0, err
		}
	}
	return len(bytes), nil
}

func (a *async) hand(chunk []byte) error {
	if a.err != nil {
		return a.err
	}
	select {
	case buffer := <-a.free:
		select {
		case a.full <- append(buffer, chunk...):
		case a.err = <-a.done:
		}
	case a.err = <-a.done:
	}
	return a.err
}

// Close waits for all that was taken.
func (a *async) Close() error {
	if a.err != nil {
		return a.err
	}
	close(a.full)
	return <-a.done
}
