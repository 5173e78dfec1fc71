"""The manifests of packaging/kubernetes, against the schemas of Kubernetes and against each other.

Arguments: the directory of the manifests, the program `wattpost`, `wattpost.example.toml`. Prints one line for each fault,
and the number of resources at the end.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import tomllib

import kubernetes_validate
import yaml

# The oldest version with all fields that are used, and the newest that the package knows.
VERSIONS = ["1.29", kubernetes_validate.latest_version()]

directory, program, example = (pathlib.Path(argument).resolve() for argument in sys.argv[1:4])
faults = []


def documents(name):
    return [document for document in yaml.safe_load_all((directory / name).read_text()) if document]


def check(holds, what):
    if not holds:
        faults.append(what)


names = documents("kustomization.yaml")[0]["resources"]
files = {path.name for path in directory.glob("*.yaml")} - {"kustomization.yaml", "secret.example.yaml"}
check(set(names) == files, f"kustomization.yaml lists {sorted(names)}, and the files are {sorted(files)}")
resources = [document for name in names for document in documents(name)]
secret = documents("secret.example.yaml")[0]

for resource in [*resources, secret]:
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(resource, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            faults.append(f"{resource['kind']} {resource['metadata']['name']} in {version}: {error.message}")


def of(*kinds):
    return [resource for resource in resources if resource["kind"] in kinds]


workloads = of("StatefulSet", "Deployment")
settings_text = of("ConfigMap")[0]["data"]["wattpost.toml"]
settings = tomllib.loads(settings_text)
grace_s = tomllib.loads(example.read_text())["gateway"]["shutdown_grace_s"]
listens = {
    "gateway": settings["health"]["gateway_listen"],
    "consumer": settings["health"]["consumer_listen"],
    "api": settings["http"]["listen"],
}
roles = {}

for workload in workloads:
    role = workload["metadata"]["labels"]["app.kubernetes.io/component"]
    roles[role] = workload
    spec = workload["spec"]
    labels = spec["template"]["metadata"]["labels"]
    pod = spec["template"]["spec"]
    check(spec["selector"]["matchLabels"].items() <= labels.items(), f"{role}: the selector does not match its pods")
    check(pod["enableServiceLinks"] is False, f"{role}: variables of Services would look like settings")
    security = pod["securityContext"]
    check(security["runAsNonRoot"] and security["runAsUser"] > 0, f"{role}: runs as root")
    volumes = {volume["name"] for volume in pod["volumes"]}
    volumes |= {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])}
    for container in [*pod["containers"], *pod.get("initContainers", [])]:
        name = f"{role}, container {container['name']}"
        security = container["securityContext"]
        check(security["readOnlyRootFilesystem"], f"{name}: writes to its image")
        check(not security["allowPrivilegeEscalation"], f"{name}: may gain privileges")
        check(security["capabilities"] == {"drop": ["ALL"]}, f"{name}: has capabilities")
        check("memory" in container["resources"]["limits"], f"{name}: has no limit of memory")
        for mount in container["volumeMounts"]:
            check(mount["name"] in volumes, f"{name}: there is no volume {mount['name']}")
        for variable in container["env"]:
            key = variable.get("valueFrom", {}).get("secretKeyRef")
            if key:
                known = key["name"] == secret["metadata"]["name"] and key["key"] in secret["stringData"]
                check(known, f"{name}: secret.example.yaml has no {key}")
    container = pod["containers"][0]
    check(container["args"] == [role], f"{role}: starts {container['args']}")
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for probe, path in [("startupProbe", "live"), ("readinessProbe", "ready"), ("livenessProbe", "live")]:
        get = container[probe]["httpGet"]
        check(get["path"] == f"/health/{path}", f"{role}: {probe} asks {get['path']}")
        port = ports.get(get["port"])
        check(listens[role].endswith(f":{port}"), f"{role}: {probe} asks port {port}, and it listens at {listens[role]}")
    sleep_s = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    kept = pod["terminationGracePeriodSeconds"]
    check(kept >= sleep_s + 2 * grace_s, f"{role}: killed {kept} s after the stop begins, and its drain takes up to {grace_s} s")
    budgets = [budget for budget in of("PodDisruptionBudget") if budget["spec"]["selector"]["matchLabels"].items() <= labels.items()]
    check(len(budgets) == 1, f"{role}: {len(budgets)} PodDisruptionBudgets")

check(set(roles) == {"gateway", "consumer", "api"}, f"the roles are {sorted(roles)}")
check(roles["gateway"]["kind"] == "StatefulSet", "a gateway keeps its journal")

for service in of("Service"):
    name = service["metadata"]["name"]
    selected = [
        workload
        for workload in workloads
        if service["spec"]["selector"].items() <= workload["spec"]["template"]["metadata"]["labels"].items()
    ]
    check(len(selected) == 1, f"Service {name} selects {len(selected)} workloads")
    for workload in selected:
        ports = {port["name"] for port in workload["spec"]["template"]["spec"]["containers"][0]["ports"]}
        for port in service["spec"]["ports"]:
            check(port["targetPort"] in ports, f"Service {name}: no port {port['targetPort']}")
headless = {service["metadata"]["name"] for service in of("Service") if service["spec"].get("clusterIP") == "None"}
check(roles["gateway"]["spec"]["serviceName"] in headless, "the StatefulSet names no headless Service")

# The settings, as each container has them, are accepted by the program.
for role, workload in roles.items():
    with tempfile.TemporaryDirectory() as scratch:
        file = pathlib.Path(scratch) / "wattpost.toml"
        file.write_text(settings_text)
        environment = {"PATH": os.environ["PATH"]}
        for variable in workload["spec"]["template"]["spec"]["containers"][0]["env"]:
            key = variable.get("valueFrom", {}).get("secretKeyRef")
            environment[variable["name"]] = secret["stringData"].get(key["key"], "") if key else str(file)
        ran = subprocess.run(
            [program, "check", "--show"], env=environment, cwd=scratch, capture_output=True, text=True, timeout=60
        )
        check(ran.returncode == 0, f"{role}: wattpost does not accept the settings: {ran.stderr}")
        check("WARN" not in ran.stderr, f"{role}: wattpost warns of the settings: {ran.stderr}")

for fault in faults:
    print(fault)
print(len(resources))
sys.exit(1 if faults else 0)
