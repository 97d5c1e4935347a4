{{- define "edge.labels" -}}
app.kubernetes.io/part-of: edge-intelligence
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- define "edge.operator.selector" -}}
app.kubernetes.io/name: edge-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "edge.store.selector" -}}
app.kubernetes.io/name: model-store
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "edge.nodeCache.selector" -}}
app.kubernetes.io/name: edge-node-cache
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* The Secret with the certificate of the caches of nodes; empty without TLS. */}}
{{- define "edge.nodeCache.tlsSecret" -}}
{{- if eq .Values.tls.mode "Auto" }}edge-node-cache-tls{{ else }}{{ .Values.nodeCache.tlsSecret }}{{ end -}}
{{- end }}

{{- define "edge.nodeCache.url" -}}
{{ ternary "https" "http" (ne (include "edge.nodeCache.tlsSecret" .) "") }}://edge-node-cache.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}:8080
{{- end -}}

{{- define "edge.triton.selector" -}}
app.kubernetes.io/name: triton
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "edge.test.selector" -}}
app.kubernetes.io/name: edge-test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* registry/repository:tag@digest of an image; the tag is the chart's appVersion unless given. */}}
{{- define "edge.image" -}}
{{- $registry := .root.Values.global.imageRegistry | default .image.registry }}
{{- with $registry }}{{ . }}/{{ end }}{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- with .image.digest }}@{{ . }}{{ end }}
{{- end -}}

{{- define "edge.store.url" -}}
{{ ternary "https" "http" (ne (include "edge.store.tlsSecret" .) "") }}://model-store.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}:8080
{{- end -}}

{{/* Name of cluster-scoped objects, unique per installation. */}}
{{- define "edge.clusterName" -}}
{{ .Release.Namespace }}-edge-operator
{{- end -}}

{{/* Name of the ClusterRole of the pods at entry nodes. */}}
{{- define "edge.runtimeRole" -}}
{{ .Release.Namespace }}-edge-runtime
{{- end -}}

{{/* What limits the reports of runtimes: Policy, Roles or Namespace. Tokens name their node from Kubernetes 1.30 on. */}}
{{- define "edge.statusRights" -}}
{{- $given := .Values.runtime.statusRights }}
{{- $version := .Capabilities.KubeVersion.Version }}
{{- $policies := semverCompare ">=1.30.0-0" $version }}
{{- if and (eq $given "Policy") (not $policies) }}
{{- fail (printf "runtime.statusRights: %q requires Kubernetes 1.30 or later, not %s: set Roles or Auto" $given $version) }}
{{- end }}
{{- if ne $given "Auto" }}{{ $given }}{{ else }}{{ ternary "Policy" "Roles" $policies }}{{ end }}
{{- end -}}

{{/* Where the pods of a part run, and their priority. Input: part, its values; root; hook: whether it runs before the
release's own PriorityClasses exist, or after. */}}
{{- define "edge.placement" -}}
{{- $class := .part.priorityClassName }}
{{- if and (not $class) (not .hook) .root.Values.priorityClasses.create }}{{ $class = include "edge.systemClass" .root }}{{ end }}
{{- with $class }}
priorityClassName: {{ . }}
{{- end }}
{{- with .part.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
affinity:
{{- if .part.affinity }}
{{- toYaml .part.affinity | nindent 2 }}
{{- else }}
  nodeAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        preference: {matchExpressions: [{key: edge-intelligence.io/tier, operator: In, values: [cloud]}]}
      - weight: 50
        preference: {matchExpressions: [{key: node-role.kubernetes.io/control-plane, operator: Exists}]}
      - weight: 20
        preference: {matchExpressions: [{key: edge-intelligence.io/device-class, operator: DoesNotExist}]}
{{- end }}
{{- with .part.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Name of the PriorityClass of the operator and the model store. */}}
{{- define "edge.systemClass" -}}
{{ .Release.Namespace }}-edge-system
{{- end -}}

{{/* Name of the PriorityClass of the pods at entry nodes; empty without one. */}}
{{- define "edge.runtimeClass" -}}
{{- if .Values.runtime.priorityClassName }}{{ .Values.runtime.priorityClassName }}
{{- else if .Values.priorityClasses.create }}{{ include "edge.runtimeRole" . }}
{{- end }}
{{- end -}}

{{/* Names of the Secrets with keys of Triton servers. */}}
{{- define "edge.controlSecrets" -}}
{{- $names := .Values.operator.tritonControlSecrets }}
{{- if .Values.triton.enabled }}{{ $names = append $names "triton-control" | uniq }}{{ end }}
{{- $names | toJson }}
{{- end -}}

{{/* "true" if the store has a volume; empty: an emptyDir. */}}
{{- define "edge.store.persistent" -}}
{{- $persistence := .Values.store.persistence }}
{{- if $persistence.existingClaim }}true
{{- else if eq (toString $persistence.enabled) "Auto" }}
{{- $found := lookup "v1" "PersistentVolumeClaim" .Release.Namespace "model-store" }}
{{- range (lookup "storage.k8s.io/v1" "StorageClass" "" "").items }}
{{- if eq (dig "metadata" "annotations" "storageclass.kubernetes.io/is-default-class" "" .) "true" }}{{ $found = . }}{{ end }}
{{- end }}
{{- if or $found $persistence.storageClass }}true{{ end }}
{{- else if $persistence.enabled }}true
{{- end }}
{{- end -}}

{{/* JSON list of the CRDs of this chart that exist and that no release owns. Fails if another release owns one. */}}
{{- define "edge.crds.unowned" -}}
{{- $left := list }}
{{- range $path, $_ := .Files.Glob "files/crds/*.yaml" }}
{{- $parts := base $path | trimSuffix ".yaml" | splitn "_" 2 }}
{{- $name := printf "%s.%s" $parts._1 $parts._0 }}
{{- $live := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" $name }}
{{- if $live }}
{{- $release := dig "metadata" "annotations" "meta.helm.sh/release-name" "" $live }}
{{- $namespace := dig "metadata" "annotations" "meta.helm.sh/release-namespace" "" $live }}
{{- if or (not $release) (ne (dig "metadata" "labels" "app.kubernetes.io/managed-by" "" $live) "Helm") }}
{{- $left = append $left $name }}
{{- else if and $.Values.crds.enabled (or (ne $release $.Release.Name) (ne $namespace $.Release.Namespace)) }}
{{- fail (printf "CustomResourceDefinition %s: belongs to the Helm release %q in namespace %q: set crds.enabled=false to use it as it is, or, if that release is gone, give it to this one: kubectl annotate crd -l app.kubernetes.io/part-of=edge-intelligence --overwrite meta.helm.sh/release-name=%s meta.helm.sh/release-namespace=%s" $name $release $namespace $.Release.Name $.Release.Namespace) }}
{{- end }}
{{- end }}
{{- end }}
{{- $left | toJson }}
{{- end -}}

{{/* Annotations of the hook that adopts CRDs. Input: its weight. */}}
{{- define "edge.crds.hook" -}}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{/* Annotations of the hook that removes finalizers. Input: its weight. */}}
{{- define "edge.finalizers.hook" -}}
helm.sh/hook: post-delete
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{/* Annotations of what `helm test` creates. Input: its weight. */}}
{{- define "edge.test.hook" -}}
helm.sh/hook: test
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{- define "edge.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "edge.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "edge.pullSecrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The Secret with the certificate of the model store; empty without TLS. */}}
{{- define "edge.store.tlsSecret" -}}
{{- if eq .Values.tls.mode "Auto" }}model-store-tls{{ else }}{{ .Values.store.tlsSecret }}{{ end -}}
{{- end }}

{{/* Rejects Secrets that tls.mode does not use. */}}
{{- define "edge.tls.check" -}}
{{- range $part := list "operator" "runtime" "store" "nodeCache" }}
{{- $name := (index $.Values $part).tlsSecret }}
{{- if and $name (ne $.Values.tls.mode "Secrets") }}
{{- fail (printf "%s.tlsSecret: %q is not used with tls.mode %s: set tls.mode=Secrets, or leave %s.tlsSecret empty" $part $name $.Values.tls.mode $part) }}
{{- end }}
{{- end }}
{{- end }}
