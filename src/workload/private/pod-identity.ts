import * as iam from 'aws-cdk-lib/aws-iam';

/** Trusts only the service account of this name, in this cluster and namespace. */
export function podPrincipal(clusterName: string, namespace: string, serviceAccount: string): iam.IPrincipal {
  return new iam.ServicePrincipal('pods.eks.amazonaws.com', {
    conditions: {
      StringEquals: {
        'aws:RequestTag/eks-cluster-name': clusterName,
        'aws:RequestTag/kubernetes-namespace': namespace,
        'aws:RequestTag/kubernetes-service-account': serviceAccount,
      },
    },
  }).withSessionTags();
}
