// Command podnet is the CNI agent of a kind cluster whose nodes share one network.
//
// On each node it writes the CNI configuration (ptp, host-local over the node's podCIDR, portmap), keeps a route to every
// other node's podCIDR, and masquerades what pods send out of the pod network. It also rejects what is still addressed to
// a Service after kube-proxy's rules had their turn, and what is addressed to a pod that no node has: such packets must
// never reach the machine's gateway.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	every      = 3 * time.Second
	afterError = time.Second
)

// agent keeps one node's pod network as the cluster's nodes say.
type agent struct {
	node     string
	pods     *net.IPNet
	services *net.IPNet
	current  string // the podCIDR that is set up
}

func main() {
	log.SetFlags(log.Ltime)
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	a := &agent{node: os.Getenv("NODE_NAME")}
	var err error
	if _, a.pods, err = net.ParseCIDR(os.Getenv("POD_SUBNET")); err != nil {
		return fmt.Errorf("POD_SUBNET: %w", err)
	}
	if _, a.services, err = net.ParseCIDR(os.Getenv("SERVICE_SUBNET")); err != nil {
		return fmt.Errorf("SERVICE_SUBNET: %w", err)
	}
	api, err := newAPI()
	if err != nil {
		return err
	}
	said := ""
	for {
		wait := every
		nodes, err := api.nodes(ctx)
		if err == nil {
			err = a.sync(nodes)
		}
		if err != nil && ctx.Err() == nil {
			wait = afterError
			if err.Error() != said { // the API can't be reached until kube-proxy is there: say so once
				said = err.Error()
				log.Print(said)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// sync sets up this node's own pods once, and a route to every other node's.
func (a *agent) sync(nodes []node) error {
	for _, n := range nodes {
		_, cidr, err := net.ParseCIDR(n.Spec.PodCIDR)
		if err != nil {
			continue // not allocated yet
		}
		if n.Metadata.Name == a.node {
			if err := a.setUp(cidr); err != nil {
				return err
			}
			continue
		}
		gateway := n.address()
		if gateway == nil {
			continue
		}
		if err := netlink.RouteReplace(&netlink.Route{Dst: cidr, Gw: gateway}); err != nil {
			return fmt.Errorf("route %s via %s: %w", cidr, gateway, err)
		}
	}
	return nil
}

func (a *agent) setUp(cidr *net.IPNet) error {
	if a.current == cidr.String() {
		return nil
	}
	if err := writeRules(cidr, a.pods, a.services); err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	// Addresses of pods that no node has are nowhere: the default route would send them to the machine.
	if err := netlink.RouteReplace(&netlink.Route{Dst: a.pods, Type: unix.RTN_UNREACHABLE}); err != nil {
		return fmt.Errorf("route %s: %w", a.pods, err)
	}
	if err := writeConfiguration(cidr); err != nil {
		return err
	}
	a.current = cidr.String()
	log.Printf("this node's pods: %s", cidr)
	return nil
}
