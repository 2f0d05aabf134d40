// Command podnet is the CNI agent of a kind cluster whose nodes share one network.
//
// On each node it writes the CNI configuration (ptp, host-local over the node's podCIDR, portmap), keeps a route to every
// other node's podCIDR, and masquerades what pods send out of the pod network. It also rejects what is still addressed to
// a Service after kube-proxy's rules had their turn, and what would leave the cluster towards an address of a pod: such
// packets must never reach the machine's gateway.
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
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const resync = 10 * time.Second

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
	config, err := rest.InClusterConfig()
	if err != nil {
		return err
	}
	// Until kube-proxy has set up the Service "kubernetes", only the control plane's own address answers.
	if endpoint := os.Getenv("CONTROL_PLANE_ENDPOINT"); endpoint != "" {
		config.Host = "https://" + endpoint
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	changed := make(chan struct{}, 1)
	go watch(ctx, client, changed)
	tick := time.NewTicker(resync)
	defer tick.Stop()
	for {
		nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{ResourceVersion: "0"})
		if err == nil {
			err = a.sync(nodes.Items)
		}
		if err != nil && ctx.Err() == nil {
			log.Printf("sync: %v", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-changed:
		}
	}
}

// watch tells when some node changed.
func watch(ctx context.Context, client kubernetes.Interface, changed chan<- struct{}) {
	for ctx.Err() == nil {
		events, err := client.CoreV1().Nodes().Watch(ctx, metav1.ListOptions{ResourceVersion: "0"})
		if err != nil {
			time.Sleep(time.Second)
			continue
		}
		for range events.ResultChan() {
			select {
			case changed <- struct{}{}:
			default: // one is waiting already
			}
		}
	}
}

// sync sets up this node's own pods once, and a route to every other node's.
func (a *agent) sync(nodes []corev1.Node) error {
	for _, node := range nodes {
		_, cidr, err := net.ParseCIDR(node.Spec.PodCIDR)
		if err != nil {
			continue // not allocated yet
		}
		if node.Name == a.node {
			if err := a.setUp(cidr); err != nil {
				return err
			}
			continue
		}
		gateway := address(node)
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

func address(node corev1.Node) net.IP {
	for _, a := range node.Status.Addresses {
		if a.Type == corev1.NodeInternalIP {
			if ip := net.ParseIP(a.Address).To4(); ip != nil {
				return ip
			}
		}
	}
	return nil
}
