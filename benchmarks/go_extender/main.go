// The rival of our extender: what one writes first in Go, with the standard library only.
//
// Bodies are decoded into types by encoding/json, nodes scored by a map of grams, and the answer encoded
// by encoding/json again. Types hold only what is read, so that whole Node objects cost it less than with
// the types of k8s.io/api.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"math"
	"net"
	"net/http"
	"os"
)

type container struct {
	Resources struct {
		Requests map[string]string `json:"requests"`
	} `json:"resources"`
}

type pod struct {
	Metadata struct {
		Name        string            `json:"name"`
		Namespace   string            `json:"namespace"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec struct {
		Containers []container `json:"containers"`
	} `json:"spec"`
}

type node struct {
	Metadata struct {
		Name   string            `json:"name"`
		Labels map[string]string `json:"labels"`
	} `json:"metadata"`
}

type nodeList struct {
	Items []node `json:"items"`
}

type args struct {
	Pod       pod
	Nodes     *nodeList
	NodeNames *[]string
}

type filterResult struct {
	Nodes                      json.RawMessage   `json:"Nodes,omitempty"`
	NodeNames                  *[]string         `json:"NodeNames,omitempty"`
	FailedNodes                map[string]string `json:"FailedNodes"`
	FailedAndUnresolvableNodes map[string]string `json:"FailedAndUnresolvableNodes"`
	Error                      string            `json:"Error"`
}

type hostPriority struct {
	Host  string
	Score int64
}

const (
	best    = 10
	neutral = 5
)

func names(asked args) []string {
	if asked.NodeNames != nil {
		return *asked.NodeNames
	}
	found := []string{}
	if asked.Nodes != nil {
		for _, item := range asked.Nodes.Items {
			found = append(found, item.Metadata.Name)
		}
	}
	return found
}

func prioritize(grams map[string]float64) http.HandlerFunc {
	return func(answer http.ResponseWriter, request *http.Request) {
		var asked args
		if err := json.NewDecoder(request.Body).Decode(&asked); err != nil {
			http.Error(answer, err.Error(), http.StatusBadRequest)
			return
		}
		offered := names(asked)
		low, high := math.Inf(1), math.Inf(-1)
		for _, name := range offered {
			if cost, known := grams[name]; known {
				low, high = math.Min(low, cost), math.Max(high, cost)
			}
		}
		scores := make([]hostPriority, 0, len(offered))
		for _, name := range offered {
			score := int64(neutral)
			if cost, known := grams[name]; known && high > low {
				score = int64(math.Round(best * (high - cost) / (high - low)))
			}
			scores = append(scores, hostPriority{name, score})
		}
		answer.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(answer).Encode(scores)
	}
}

func filter(answer http.ResponseWriter, request *http.Request) {
	var asked struct {
		Pod       pod
		Nodes     json.RawMessage
		NodeNames *[]string
	}
	if err := json.NewDecoder(request.Body).Decode(&asked); err != nil {
		http.Error(answer, err.Error(), http.StatusBadRequest)
		return
	}
	none := map[string]string{}
	result := filterResult{NodeNames: asked.NodeNames, FailedNodes: none, FailedAndUnresolvableNodes: none}
	if asked.NodeNames == nil {
		result.Nodes = asked.Nodes
	}
	answer.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(answer).Encode(result)
}

func main() {
	file, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	grams := map[string]float64{}
	if err := json.Unmarshal(file, &grams); err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/prioritize", prioritize(grams))
	http.HandleFunc("/filter", filter)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listens on http://%s\n", listener.Addr())
	log.Fatal(http.Serve(listener, nil))
}
