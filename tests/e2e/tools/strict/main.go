// Reads YAML documents from standard input and decodes each into its project's own Go types, where a field
// that there isn't is an error: what an operator's custom resources can be held to without its cluster.
package main

import (
	"bytes"
	"fmt"
	"io"
	"os"

	certmanager "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"sigs.k8s.io/yaml"
)

func into(kind string) any {
	switch kind {
	case "cert-manager.io/v1/Certificate":
		return &certmanager.Certificate{}
	case "cert-manager.io/v1/Issuer":
		return &certmanager.Issuer{}
	case "monitoring.coreos.com/v1/PrometheusRule":
		return &monitoring.PrometheusRule{}
	case "monitoring.coreos.com/v1/ServiceMonitor":
		return &monitoring.ServiceMonitor{}
	}
	return nil
}

func main() {
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		panic(err)
	}
	failed := false
	for _, document := range bytes.Split(text, []byte("\n---\n")) {
		var about struct{ APIVersion, Kind string }
		if err := yaml.Unmarshal(document, &about); err != nil {
			panic(err)
		}
		kind := about.APIVersion + "/" + about.Kind
		target := into(kind)
		if target == nil {
			err = fmt.Errorf("no such kind here")
		} else {
			err = yaml.UnmarshalStrict(document, target)
		}
		fmt.Println(kind, err)
		failed = failed || err != nil
	}
	if failed {
		os.Exit(1)
	}
}
