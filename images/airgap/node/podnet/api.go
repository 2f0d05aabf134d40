package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const account = "/var/run/secrets/kubernetes.io/serviceaccount"

// node is what podnet reads of a Node; client-go, for one request, would be most of the program.
type node struct {
	Metadata struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		PodCIDR string `json:"podCIDR"`
	} `json:"spec"`
	Status struct {
		Addresses []struct {
			Type    string `json:"type"`
			Address string `json:"address"`
		} `json:"addresses"`
	} `json:"status"`
}

// address returns the node's own IPv4 address, or nil.
func (n node) address() net.IP {
	for _, a := range n.Status.Addresses {
		if ip := net.ParseIP(a.Address).To4(); a.Type == "InternalIP" && ip != nil {
			return ip
		}
	}
	return nil
}

// api is the cluster's, as a pod with a service account reaches it.
type api struct {
	client *http.Client
	url    string
}

func newAPI() (*api, error) {
	authority, err := os.ReadFile(filepath.Join(account, "ca.crt"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority) {
		return nil, errors.New("the service account's ca.crt holds no certificate")
	}
	host := net.JoinHostPort(os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT"))
	return &api{
		client: &http.Client{
			Timeout:   10 * time.Second,
			Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true},
		},
		// From the API server's cache, which is as new as it needs to be.
		url: "https://" + host + "/api/v1/nodes?resourceVersion=0",
	}, nil
}

func (a *api) nodes(ctx context.Context) ([]node, error) {
	token, err := os.ReadFile(filepath.Join(account, "token")) // read each time: it is renewed
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	answer, err := a.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("listing nodes: %s", answer.Status)
	}
	var list struct {
		Items []node `json:"items"`
	}
	err = json.NewDecoder(answer.Body).Decode(&list)
	return list.Items, err
}
