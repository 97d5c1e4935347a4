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

{{/* repository:tag of an image; the tag is the chart's appVersion unless given. */}}
{{- define "edge.image" -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
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
{{- range $part := list "operator" "runtime" "store" }}
{{- $name := (index $.Values $part).tlsSecret }}
{{- if and $name (ne $.Values.tls.mode "Secrets") }}
{{- fail (printf "%s.tlsSecret: %q is not used with tls.mode %s: set tls.mode=Secrets, or leave %s.tlsSecret empty" $part $name $.Values.tls.mode $part) }}
{{- end }}
{{- end }}
{{- end }}
