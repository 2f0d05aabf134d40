package main

import "io"

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

// Write takes the bytes; what became of them shows at the next Write, or at Close.
func (a *async) Write(bytes []byte) (int, error) {
	if a.err != nil {
		return 0, a.err
	}
	select {
	case buffer := <-a.free:
		select {
		case a.full <- append(buffer, bytes...):
			return len(bytes), nil
		case a.err = <-a.done:
		}
	case a.err = <-a.done:
	}
	return 0, a.err
}

// Close waits for all that was taken.
func (a *async) Close() error {
	if a.err != nil {
		return a.err
	}
	close(a.full)
	return <-a.done
}
