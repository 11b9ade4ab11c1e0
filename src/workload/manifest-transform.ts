import type { IConstruct } from 'constructs';

/**
 * A change of Kubernetes objects before they are applied, for everything that this library has no option for: tolerations, volumes,
 * annotations, a priority class.
 *
 * @subclassable
 */
export interface IManifestTransform {
  /**
   * Returns the object to apply. It is called once for each object.
   *
   * @param manifest the object, such as a Deployment; it may be changed in place, except by programs in other languages than TypeScript and
   * JavaScript, which get a copy
   * @param scope the workload, the job, or the other construct that the object belongs to
   * @returns the object, with the same `apiVersion`, `kind`, name and namespace
   */
  transform(manifest: { [key: string]: any }, scope: IConstruct): { [key: string]: any };
}
