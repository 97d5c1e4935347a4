// The jobs of a cluster that is like K3s: those of helm-controller, for which K3s has rancher/klipper-helm, and those
// of local-path-provisioner, which runs /bin/sh with a script of its ConfigMap.
package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	volumeMode = 0o777
	hashLabel  = "helmcharts.helm.cattle.io/configHash"
)

func main() {
	var err error
	if filepath.Base(os.Args[0]) == "sh" {
		err = volume(os.Args[1:])
	} else {
		err = release(os.Args[1:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// volume makes or removes the folder of a volume; the script of the ConfigMap only has the right name.
func volume(arguments []string) error {
	folder := os.Getenv("VOL_DIR")
	if len(arguments) == 0 || folder == "" {
		return fmt.Errorf("VOL_DIR: not set, or no script")
	}
	if filepath.Base(arguments[0]) == "teardown" {
		return os.RemoveAll(folder)
	}
	if err := os.MkdirAll(folder, volumeMode); err != nil {
		return err
	}
	return os.Chmod(folder, volumeMode) // MkdirAll applies the umask
}

// release installs, upgrades or uninstalls the chart of a HelmChart. A release that failed is uninstalled and installed
// again, unless the policy is to abort.
func release(arguments []string) error {
	name, namespace := os.Getenv("NAME"), os.Getenv("TARGET_NAMESPACE")
	status, err := statusOf(name, namespace)
	if err != nil {
		return err
	}
	if len(arguments) > 0 && arguments[0] == "delete" {
		if status == "" {
			return nil
		}
		return helm("uninstall", name, "--namespace", namespace, "--wait")
	}
	chart, err := chartOf(name)
	if err != nil {
		return err
	}
	command := "install"
	switch {
	case status == "deployed":
		command = "upgrade"
	case status != "" && os.Getenv("FAILURE_POLICY") == "abort":
		return fmt.Errorf("release %s is %s, and the failure policy is to abort", name, status)
	case status != "":
		if err := helm("uninstall", name, "--namespace", namespace, "--wait"); err != nil {
			return err
		}
	}
	argv := append([]string{command, name, chart}, arguments[1:]...)
	if !strings.Contains(strings.Join(arguments, " "), "--namespace") {
		argv = append(argv, "--namespace", namespace)
	}
	values, err := filepath.Glob("/config/values-*.yaml")
	if err != nil {
		return err
	}
	for _, file := range values {
		argv = append(argv, "--values", file)
	}
	if timeout := os.Getenv("TIMEOUT"); timeout != "" {
		argv = append(argv, "--timeout", timeout)
	}
	if hash := os.Getenv("CONFIG_HASH"); hash != "" {
		argv = append(argv, "--labels", hashLabel+"="+hash)
	}
	if command == "upgrade" {
		argv = remove(argv, "--create-namespace")
	}
	return helm(argv...)
}

func remove(words []string, word string) []string {
	kept := words[:0]
	for _, each := range words {
		if each != word {
			kept = append(kept, each)
		}
	}
	return kept
}

func statusOf(name, namespace string) (string, error) {
	output, err := command("list", "--all", "--namespace", namespace, "--filter", "^"+name+"$", "--output", "json").Output()
	if err != nil {
		return "", fmt.Errorf("helm list: %w", err)
	}
	var releases []struct {
		Status string `json:"status"`
	}
	if err := json.Unmarshal(output, &releases); err != nil {
		return "", err
	}
	if len(releases) == 0 {
		return "", nil
	}
	return releases[0].Status, nil
}

// chartOf returns the file of the chart in the HelmChart, or the chart that it names.
func chartOf(name string) (string, error) {
	encoded, err := os.ReadFile(filepath.Join("/chart", name+".tgz.base64"))
	if os.IsNotExist(err) {
		return os.Getenv("CHART"), nil
	}
	if err != nil {
		return "", err
	}
	chart, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(encoded)))
	if err != nil {
		return "", err
	}
	file := filepath.Join("/tmp", name+".tgz")
	return file, os.WriteFile(file, chart, 0o600)
}

func helm(arguments ...string) error {
	run := command(arguments...)
	run.Stdout = os.Stdout
	fmt.Println("helm", strings.Join(arguments, " "))
	return run.Run()
}

func command(arguments ...string) *exec.Cmd {
	run := exec.Command("/helm", arguments...)
	run.Env = append(os.Environ(), "HOME=/tmp")
	run.Stderr = os.Stderr
	return run
}
