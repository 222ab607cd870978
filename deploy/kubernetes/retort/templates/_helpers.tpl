{{/* A part's object name: the release, then the part. Call with (list $ "api"). */}}
{{- define "retort.name" -}}
{{- $root := index . 0 -}}
{{ printf "%s-%s" $root.Release.Name (index . 1) | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{/* What selects a part's pods; never changes in the life of a release. */}}
{{- define "retort.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ $root.Chart.Name }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "retort.labels" -}}
{{- $root := index . 0 -}}
{{ include "retort.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- end -}}

{{/* Call with (list $ "serving"). */}}
{{- define "retort.image" -}}
{{- $root := index . 0 -}}
{{- $image := index $root.Values.images (index . 1) -}}
image: {{ printf "%s:%s" $image.repository (default $root.Chart.AppVersion $image.tag) | quote }}
imagePullPolicy: {{ $root.Values.images.pullPolicy }}
{{- end -}}

{{/* What all pods have in common. */}}
{{- define "retort.pod" -}}
automountServiceAccountToken: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "retort.shut" -}}
securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
{{- end -}}

{{/* Where the stores are, for every process but the API. */}}
{{- define "retort.offline.addresses" -}}
DATABASE_URL_FILE: /run/secrets/database_url
REDIS_URL_FILE: /run/secrets/redis_broker_url
HISTORIES_REDIS_URL_FILE: /run/secrets/redis_history_url
HOME: /tmp
NUMBA_CACHE_DIR: /tmp/numba
{{- end -}}

{{/* One container of the offline image and its volumes. Call with a dict: root, part, image, command, resources, runs, bundles, recipes, ports. */}}
{{- define "retort.offline.container" -}}
{{- $root := .root -}}
containers:
  - name: {{ .part }}
    {{- include "retort.image" (list $root .image) | nindent 4 }}
    command: {{ toJson .command }}
    {{- with .port }}
    ports: [{name: metrics, containerPort: {{ . }}}]
    {{- end }}
    env: [{name: PGAPPNAME, value: {{ .part }}}]
    envFrom: [{configMapRef: {name: {{ include "retort.name" (list $root "all") }}}}, {configMapRef: {name: {{ include "retort.name" (list $root "offline") }}}}]
    resources: {{ toJson .resources }}
    {{- include "retort.shut" $root | nindent 4 }}
    volumeMounts:
      {{- if .bundles }}
      - {name: bundles, mountPath: /var/lib/retort/bundles}
      {{- end }}
      {{- if .runs }}
      - {name: runs, mountPath: /runs}
      - {name: recipes, mountPath: /config, readOnly: true}
      {{- end }}
      - {name: secrets, mountPath: /run/secrets, readOnly: true}
      - {name: tmp, mountPath: /tmp}
volumes:
  {{- if .bundles }}
  - {name: bundles, persistentVolumeClaim: {claimName: {{ include "retort.name" (list $root "bundles") }}}}
  {{- end }}
  {{- if .runs }}
  - {name: runs, persistentVolumeClaim: {claimName: {{ include "retort.name" (list $root "runs") }}}}
  - {name: recipes, configMap: {name: {{ include "retort.name" (list $root "recipes") }}}}
  {{- end }}
  - {name: secrets, secret: {secretName: {{ $root.Values.secret }}}}
  - {name: tmp, emptyDir: {}}
{{- end -}}

{{/* A rule of a network policy: to these addresses, at these ports. */}}
{{- define "retort.way" -}}
- to:
    {{- range .cidrs }}
    - ipBlock: {cidr: {{ . | quote }}}
    {{- end }}
  ports:
    {{- range .ports }}
    - port: {{ . }}
    {{- end }}
{{- end -}}
