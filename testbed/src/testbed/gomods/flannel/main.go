// flanneld with the one backend that K3s uses by default. The program of the project imports all backends, among them one
// whose library the Go proxy does not have.
package main

import (
	"context"
	"flag"
	"log"
	"os/signal"
	"sync"
	"syscall"

	"github.com/flannel-io/flannel/pkg/backend"
	_ "github.com/flannel-io/flannel/pkg/backend/vxlan"
	"github.com/flannel-io/flannel/pkg/ipmatch"
	"github.com/flannel-io/flannel/pkg/subnet/kube"
)

// As K3s has it.
const annotations = "flannel.alpha.coreos.com"

func main() {
	kubeconfig := flag.String("kubeconfig", "", "for the API server")
	network := flag.String("network", "", "file with flannel's net-conf.json")
	device := flag.String("iface", "eth0", "by which nodes reach each other")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, *kubeconfig, *network, *device); err != nil {
		log.Fatal(err)
	}
}

// run leases the subnet of the node, whose name is in NODE_NAME, and routes to those of others until it is stopped.
func run(ctx context.Context, kubeconfig, network, device string) error {
	subnets, err := kube.NewSubnetManager(ctx, "", kubeconfig, annotations, network, false)
	if err != nil {
		return err
	}
	config, err := subnets.GetNetworkConfig(ctx)
	if err != nil {
		return err
	}
	family, err := ipmatch.GetIPFamily(config.EnableIPv4, config.EnableIPv6)
	if err != nil {
		return err
	}
	external, err := ipmatch.LookupExtIface(device, "", "", family, ipmatch.PublicIPOpts{})
	if err != nil {
		return err
	}
	chosen, err := backend.NewManager(ctx, subnets, external).GetBackend(config.BackendType)
	if err != nil {
		return err
	}
	var running sync.WaitGroup
	registered, err := chosen.RegisterNetwork(ctx, &running, config)
	if err != nil {
		return err
	}
	registered.Run(ctx)
	running.Wait()
	return nil
}
