package main

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	configuration = "/etc/cni/net.d/10-podnet.conflist"
	uplink        = "eth0"

	sourceOffset      = 12 // in the IPv4 header
	destinationOffset = 16
	hostUnreachable   = 1
)

// writeConfiguration tells containerd how to connect a pod; the file appears at once or not at all.
func writeConfiguration(cidr *net.IPNet) error {
	mtu := 0
	if link, err := netlink.LinkByName(uplink); err == nil {
		mtu = link.Attrs().MTU
	}
	type object = map[string]any
	text, err := json.MarshalIndent(object{
		"cniVersion": "0.4.0",
		"name":       "podnet",
		"plugins": []any{
			object{"type": "ptp", "ipMasq": false, "mtu": mtu, "ipam": object{
				"type":    "host-local",
				"dataDir": "/run/cni-ipam-state",
				"routes":  []any{object{"dst": "0.0.0.0/0"}},
				"ranges":  []any{[]any{object{"subnet": cidr.String()}}},
			}},
			object{"type": "portmap", "capabilities": object{"portMappings": true}},
		},
	}, "", "  ")
	if err != nil {
		return err
	}
	half := filepath.Join(filepath.Dir(configuration), ".podnet.half")
	if err := os.WriteFile(half, text, 0o644); err != nil {
		return err
	}
	return os.Rename(half, configuration)
}

// writeRules makes the table "podnet" anew: masquerade what this node's pods send to anything that is no pod, reject what
// is still addressed to a Service.
func writeRules(own, pods, services *net.IPNet) error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	table := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: "podnet"}
	conn.AddTable(table) // so that there is one to delete
	conn.DelTable(table)
	conn.AddTable(table)
	conn.AddRule(&nftables.Rule{
		Table: table,
		Chain: conn.AddChain(&nftables.Chain{
			Name: "postrouting", Table: table, Type: nftables.ChainTypeNAT,
			Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
		}),
		Exprs: join(match(sourceOffset, own, expr.CmpOpEq), match(destinationOffset, pods, expr.CmpOpNeq), []expr.Any{&expr.Masq{}}),
	})
	for name, hook := range map[string]*nftables.ChainHook{
		"forward": nftables.ChainHookForward, "output": nftables.ChainHookOutput,
	} {
		conn.AddRule(&nftables.Rule{
			Table: table,
			Chain: conn.AddChain(&nftables.Chain{
				Name: name, Table: table, Type: nftables.ChainTypeFilter,
				Hooknum: hook, Priority: nftables.ChainPriorityFilter,
			}),
			Exprs: join(match(destinationOffset, services, expr.CmpOpEq), []expr.Any{
				&expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: hostUnreachable},
			}),
		})
	}
	return conn.Flush()
}

// match compares the address at offset with a network.
func match(offset uint32, network *net.IPNet, op expr.CmpOp) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: network.Mask, Xor: []byte{0, 0, 0, 0}},
		&expr.Cmp{Op: op, Register: 1, Data: network.IP.To4()},
	}
}

func join(parts ...[]expr.Any) []expr.Any {
	var all []expr.Any
	for _, part := range parts {
		all = append(all, part...)
	}
	return all
}
