{{- define "edge.console.selector" -}}
app.kubernetes.io/name: edge-console
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Name of cluster-scoped objects of the console, unique per installation. */}}
{{- define "edge.console.clusterName" -}}
{{ .Release.Namespace }}-edge-console
{{- end -}}
