package networkpolicy

import (
	"encoding/binary"
	"sync"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
)

// queueTo sends a packet to userspace queue num: by nftables' own expression, or, where the kernel was built without it
// (CONFIG_NFT_QUEUE), by the xtables target NFQUEUE, which nftables reaches through its compatibility layer.
func queueTo(num uint16, bypass bool) expr.Any {
	if hasQueueExpression() {
		queue := &expr.Queue{Num: num}
		if bypass {
			queue.Flag = expr.QueueFlagBypass
		}
		return queue
	}
	// struct xt_NFQ_info_v3, padded to 8 bytes: queuenum, queues_total, flags.
	target := make([]byte, 8)
	binary.NativeEndian.PutUint16(target[0:], num)
	binary.NativeEndian.PutUint16(target[2:], 1)
	if bypass {
		binary.NativeEndian.PutUint16(target[4:], 1)
	}
	info := xt.Unknown(target)
	return &expr.Target{Name: "NFQUEUE", Rev: 3, Info: &info}
}

// hasQueueExpression asks the kernel, once, by making a table with such a rule and removing it.
var hasQueueExpression = sync.OnceValue(func() bool {
	conn, err := nftables.New()
	if err != nil {
		return true
	}
	table := conn.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "queue-probe"})
	chain := conn.AddChain(&nftables.Chain{Name: "probe", Table: table})
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{&expr.Queue{Num: 0}}})
	if conn.Flush() != nil {
		return false // a batch is all or nothing: no table is left behind
	}
	conn.DelTable(table)
	return conn.Flush() == nil
})
