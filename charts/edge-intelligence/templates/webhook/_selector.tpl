{{- define "edge.webhook.selector" -}}
app.kubernetes.io/name: edge-admission
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Name of cluster-scoped objects of the admission webhook, unique per installation. */}}
{{- define "edge.webhook.clusterName" -}}
{{ .Release.Namespace }}-edge-admission
{{- end -}}

{{/* The Secret with its certificate; empty: it is not installed. */}}
{{- define "edge.webhook.tlsSecret" -}}
{{- if .Values.admission.enabled }}
{{- $given := .Values.admission.tlsSecret }}
{{- if and $given (not .Values.admission.caBundle) (not .Values.admission.webhookAnnotations) }}
{{- fail (printf "admission.tlsSecret: %q is trusted by no webhook: set admission.webhookAnnotations, e.g. cert-manager.io/inject-ca-from, or admission.caBundle" $given) }}
{{- end }}
{{- if $given }}{{ $given }}{{ else if eq .Values.tls.mode "Auto" }}edge-admission-tls{{ end }}
{{- end }}
{{- end -}}
