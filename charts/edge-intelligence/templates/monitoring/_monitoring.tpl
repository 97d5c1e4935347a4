{{/* Labels of the pods and Services of runtimes, which the operator makes. */}}
{{- define "edge.runtimes.selector" -}}
app.kubernetes.io/component: runtime
app.kubernetes.io/managed-by: edge-intelligence
{{- end -}}

{{/* Annotations by which a plain Prometheus finds a pod; none if the Prometheus Operator is told of it. port: of /metrics. */}}
{{- define "edge.scrapeAnnotations" -}}
{{- $monitoring := .root.Values.monitoring }}
{{- if not (or $monitoring.podMonitor.enabled $monitoring.serviceMonitor.enabled) -}}
prometheus.io/scrape: "true"
prometheus.io/port: {{ .port | quote }}
prometheus.io/path: /metrics
{{- end }}
{{- end -}}
