import type {
  IPolicyValidationContextBeta1, IPolicyValidationPluginBeta1, PolicyValidationPluginReportBeta1, PolicyViolationBeta1,
} from 'aws-cdk-lib';
import type { Finding, Rule } from './private/rules';
import { RULES } from './private/rules';
import { readTemplates } from './private/templates';

/**
 * Checks of EKS clusters and alarms at synthesis, as a validation plugin of the app.
 *
 * They read the templates, so they see the clusters of `aws-eks-v2`, of `aws-eks` and of CloudFormation. The rules of cdk-nag look for
 * classes of `aws-eks`, and pass every cluster of `aws-eks-v2`.
 *
 * An error stops the synthesis, a warning is only reported. Accept a finding with its reason, on the construct or on one above it, by
 * `Validations.of(cluster).acknowledge({ id: 'EksClusterChecks::SecretsEncryption', reason: '…' })`.
 *
 * The property is `policyValidationBeta1` with a version of aws-cdk-lib that has no `Validations`, and in languages other than TypeScript.
 *
 * @see https://docs.aws.amazon.com/cdk/v2/guide/policy-validation-synthesis.html
 *
 * @example
 * declare const app: App;
 *
 * Validations.of(app).addPlugins(new EksClusterChecks());
 */
export class EksClusterChecks implements IPolicyValidationPluginBeta1 {
  /** The name of the plugin, which is the first part of each id that is acknowledged: `EksClusterChecks`. */
  public readonly name: string = 'EksClusterChecks';

  /** The names of all rules. */
  public readonly ruleIds?: string[] = RULES.map(({ name }) => name);

  /** Validates the templates of a cloud assembly; the framework calls it during synthesis. */
  public validate(context: IPolicyValidationContextBeta1): PolicyValidationPluginReportBeta1 {
    const templates = readTemplates(context.templatePaths);
    const violations = RULES.flatMap((rule) => violationsOf(rule, rule.find(templates)));
    return { success: violations.every(({ severity }) => severity !== 'error'), violations };
  }
}

/** One violation for all resources with the same words. */
function violationsOf(rule: Rule, findings: Finding[]): PolicyViolationBeta1[] {
  return [...new Set(findings.map(({ detail }) => detail))].map((detail) => ({
    ruleName: rule.name,
    description: detail === undefined ? rule.description : `${rule.description} ${detail}`,
    fix: rule.fix,
    severity: rule.severity,
    ruleMetadata: { documentation: rule.documentation },
    violatingResources: findings.filter((finding) => finding.detail === detail).map(({ resource, location }) => ({
      resourceLogicalId: resource.logicalId, templatePath: resource.template.path, locations: [location],
    })),
  }));
}
